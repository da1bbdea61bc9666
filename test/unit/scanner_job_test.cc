#include <doctest/doctest.h>
#include <string>

#include "scanner/job.h"
#include "scanner/report.h"

using namespace scanner;

namespace {

Settings full_settings() {
  Settings settings;
  settings.name = "second";
  settings.signatures = {"/var/lib/clamav", "", std::string(4096, 'p')};
  settings.workers = 256;
  settings.queue = 0;
  settings.scan_limit_ms = 1;
  settings.memory_limit = ~std::uint64_t{0};
  settings.max_scan_size = 1;
  settings.max_file_size = 2;
  settings.max_recursion = 3;
  settings.max_files = 4;
  settings.temporary_directory = "/t";
  settings.uid = 4'000'000'000;
  settings.gid = 5;
  settings.test_hooks = true;
  return settings;
}

}  // namespace

TEST_CASE("scanner job: requests survive the journey") {
  const Request scan{Request::Kind::scan, 0xfedcba9876543210, 70, std::uint64_t{1} << 40, 60'000, {}};
  const Request cancel{Request::Kind::cancel, 1, 0, 0, 0, {}};
  for (const Request& request : {scan, cancel}) {
    const std::string bytes = encode(request);
    CHECK(decode_request(bytes) == request);
    for (std::size_t length = 0; length < bytes.size(); ++length) CHECK(!decode_request(bytes.substr(0, length)));
    CHECK(!decode_request(bytes + '\0'));
  }
}

TEST_CASE("scanner job: small messages travel inside their request") {
  Request request{Request::Kind::scan, 7, 3, 5, 60'000, {}};
  const std::string bytes = encode_inline(request, "abc", std::string_view("d\0\r\n\xff", 5));
  const auto decoded = decode_request(bytes);
  REQUIRE(decoded);
  CHECK(decoded->kind == Request::Kind::scan_inline);
  CHECK(decoded->octets == std::string_view("abcd\0\r\n\xff", 8));
  for (std::size_t length = 0; length < bytes.size(); ++length) CHECK(!decode_request(bytes.substr(0, length)));
  CHECK(!decode_request(bytes + '\0'));
  // The other kinds hold no octets, and none holds more than the limit.
  std::string scan = bytes;
  scan[1] = static_cast<char>(Request::Kind::scan);
  CHECK(!decode_request(scan));
  request.size = max_inline;
  CHECK(!decode_request(encode_inline(request, "abc", std::string(max_inline, 'x'))));
}

TEST_CASE("scanner job: requests out of range are refused") {
  CHECK(!decode_request("Q"));
  CHECK(!decode_request(encode(Hello())));
  Request request;
  request.prefix = 4096;
  CHECK(decode_request(encode(request)));
  request.prefix = 4097;
  CHECK(!decode_request(encode(request)));
  request.prefix = 0;
  request.size = std::uint64_t{1} << 63;  // prefix + size must not wrap
  CHECK(!decode_request(encode(request)));
  std::string unknown_kind = encode(Request());
  unknown_kind[1] = 3;
  CHECK(!decode_request(unknown_kind));
}

TEST_CASE("scanner job: the synthetic line is one whole header field and fits a request") {
  CHECK(synthetic_prefix.starts_with("Received: "));
  CHECK(synthetic_prefix.ends_with("\r\n"));
  CHECK(synthetic_prefix.find('\n') == synthetic_prefix.size() - 1);
  CHECK(synthetic_prefix.size() <= 4096);
}

TEST_CASE("scanner job: a hello is told from a report") {
  const Hello hello{8'700'000, "ClamAV 1.4.6, signatures 27459", true};
  const std::string bytes = encode(hello);
  CHECK(decode_hello(bytes) == hello);
  CHECK(is_hello(bytes));
  CHECK(!is_hello(""));
  CHECK(!is_hello(encode(Report())));
  CHECK(!decode_hello(encode(Report())));
  CHECK(!decode_report(bytes));
  for (std::size_t length = 0; length < bytes.size(); ++length) CHECK(!decode_hello(bytes.substr(0, length)));
  CHECK(!decode_hello(bytes + 'x'));
  std::string flag = bytes;
  flag.back() = 2;
  CHECK(!decode_hello(flag));
  CHECK(decode_hello(encode(Hello{0, std::string(1000, 'v'), false}))->version == std::string(256, 'v'));
}

TEST_CASE("scanner job: settings survive the journey") {
  for (const Settings& settings : {Settings(), full_settings()}) {
    const std::string bytes = encode(settings);
    const auto read = decode_settings(bytes);
    REQUIRE(read);
    CHECK(encode(*read) == bytes);
    CHECK(read->signatures == settings.signatures);
    CHECK(read->temporary_directory == settings.temporary_directory);
    CHECK(read->uid == settings.uid);
    CHECK(read->test_hooks == settings.test_hooks);
    for (std::size_t length = 0; length < bytes.size(); ++length) REQUIRE(!decode_settings(bytes.substr(0, length)));
    CHECK(!decode_settings(bytes + 'x'));
  }
}

TEST_CASE("scanner job: settings out of range are refused") {
  const auto refused = [](auto change) {
    Settings settings = full_settings();
    change(settings);
    return !decode_settings(encode(settings)).has_value();
  };
  CHECK(!refused([](Settings&) {}));
  CHECK(refused([](Settings& s) { s.workers = 0; }));
  CHECK(refused([](Settings& s) { s.workers = 257; }));
  CHECK(refused([](Settings& s) { s.scan_limit_ms = 0; }));
  CHECK(refused([](Settings& s) { s.name = std::string(65, 'n'); }));
  CHECK(refused([](Settings& s) { s.signatures.resize(16); }));
  CHECK(refused([](Settings& s) { s.signatures[0] = std::string(4097, 'p'); }));
  CHECK(refused([](Settings& s) { s.temporary_directory = std::string(4097, 'p'); }));
}
