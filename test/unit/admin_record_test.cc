#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "proxy/admin/log.h"

using admin::Level;
using admin::Record;
using config::LogFormat;

namespace {

std::string transaction(LogFormat format) {
  Record record(format, Level::info, "q1.2");
  record.text("client", "192.0.2.1:1234").path("from", "a@example.org").path("to", "\"b c\"@example.org");
  record.number("size", 1234).text("status", "VIRUS:Eicar, the \"test\"").text("empty", "");
  record.seconds("delay", 1.23456).quoted("reply", "250 2.0.0 Ok");
  return std::move(record).take();
}

}  // namespace

TEST_CASE("text: Postfix's keys, brackets around paths, quotes only where a value needs them") {
  CHECK(transaction(LogFormat::text) ==
        "q1.2: client=192.0.2.1:1234, from=<a@example.org>, to=<\"b c\"@example.org>, size=1234, "
        "status=\"VIRUS:Eicar, the \\\"test\\\"\", empty=\"\", delay=1.235, reply=\"250 2.0.0 Ok\"");
}

TEST_CASE("JSON: one object, numbers as numbers, paths without brackets") {
  CHECK(transaction(LogFormat::json) ==
        "{\"level\":\"info\",\"id\":\"q1.2\",\"client\":\"192.0.2.1:1234\",\"from\":\"a@example.org\","
        "\"to\":\"\\\"b c\\\"@example.org\",\"size\":1234,\"status\":\"VIRUS:Eicar, the \\\"test\\\"\",\"empty\":\"\","
        "\"delay\":1.235,\"reply\":\"250 2.0.0 Ok\"}");
}

TEST_CASE("events of the program itself") {
  Record warning(LogFormat::text, Level::warning, {});
  warning.message("port 2525 is \"taken\"");
  CHECK(std::move(warning).take() == "warning: port 2525 is \"taken\"");
  Record error(LogFormat::json, Level::error, {});
  error.message("line\nbreak");
  CHECK(std::move(error).take() == "{\"level\":\"error\",\"message\":\"line\\nbreak\"}");
  Record empty(LogFormat::json, Level::info, {});
  CHECK(std::move(empty).take() == "{\"level\":\"info\"}");
}

TEST_CASE("a value cannot end its field, its line or its object") {
  Record text(LogFormat::text, Level::info, "id");
  text.path("from", "x>, status=clean").text("helo", "a, status=clean").text("bare", "a=b");
  CHECK(std::move(text).take() == "id: from=<x\\x3e, status=clean>, helo=\"a, status=clean\", bare=\"a=b\"");
  for (int octet = 0; octet < 256; ++octet) {
    const std::string raw = "x" + std::string(1, static_cast<char>(octet)) + "\r\n{\"}";
    Record record(LogFormat::json, Level::info, raw);
    record.text("helo", raw).path("from", raw).quoted("reply", raw).message(raw);
    const std::string line = std::move(record).take();
    CAPTURE(octet);
    CHECK(nlohmann::json::accept(line));
    CHECK(line.find('\n') == std::string::npos);
  }
}

TEST_CASE("numbers that are none do not break JSON") {
  Record record(LogFormat::json, Level::info, {});
  record.seconds("a", std::nan("")).seconds("b", std::numeric_limits<double>::infinity()).seconds("c", -1.5);
  record.seconds("d", 1e300).number("e", std::numeric_limits<std::uint64_t>::max());
  CHECK(std::move(record).take() ==
        "{\"level\":\"info\",\"a\":0.000,\"b\":0.000,\"c\":0.000,\"d\":1000000000.000,\"e\":18446744073709551615}");
}

TEST_CASE("a line stays below 8 KiB whatever is put into it, and says that something is missing") {
  for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
    Record record(format, Level::info, std::string(1u << 20, '\xff'));
    for (int i = 0; i < 100; ++i) record.text("key", std::string(1u << 16, '\n'));
    record.message(std::string(1u << 20, 'm'));
    record.number("last", 1);
    const std::string line = std::move(record).take();
    CHECK(line.size() <= 8192);
    CHECK(line.find("truncated") != std::string::npos);
    if (format == LogFormat::json) CHECK(nlohmann::json::accept(line));
  }
}
