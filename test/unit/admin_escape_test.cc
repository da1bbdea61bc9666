#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "proxy/admin/escape.h"
#include "proxy/admin/log.h"

namespace {

// What nlohmann makes of the same octets, each ill-formed part replaced.
std::string reference(const std::string& raw) {
  using nlohmann::json;
  return json::parse(json(raw).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

std::string parsed(const std::string& raw) { return nlohmann::json::parse(admin::json_string(raw)).get<std::string>(); }

std::string text(const std::string& raw, std::size_t limit = 4096, std::string_view also = {}) {
  std::string out;
  admin::append_text(out, raw, limit, also);
  return out;
}

bool printable(const std::string& line) {
  for (const char c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  return true;
}

}  // namespace

TEST_CASE("every octet, alone and between others, is a JSON string that means what nlohmann's replacement means") {
  for (int first = 0; first < 256; ++first) {
    const std::string one(1, static_cast<char>(first));
    CAPTURE(first);
    CHECK(parsed(one) == reference(one));
    CHECK(parsed("a" + one + "b") == reference("a" + one + "b"));
    CHECK(printable(admin::json_string(one)));
    CHECK(printable(text(one)));
  }
}

TEST_CASE("every pair of octets, whole and cut-off sequences") {
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; ++second) {
      const std::string pair{static_cast<char>(first), static_cast<char>(second)};
      if (parsed(pair) != reference(pair) || !printable(text(pair))) {
        CAPTURE(first);
        CAPTURE(second);
        CHECK(parsed(pair) == reference(pair));
        CHECK(printable(text(pair)));
      }
    }
  for (const std::string& raw :
       {std::string("\xe2\x82\xac"), std::string("\xf0\x9f\x93\xa7"), std::string("\xe2\x82"),
        std::string("\xf0\x9f\x93"), std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("\xe0\x80\x80"), std::string("\xc0\xaf"), std::string("\xe2\x82\xac\xff\xe2\x82")})
    CHECK(parsed(raw) == reference(raw));
}

TEST_CASE("text: names for what is common, octets for the rest, nothing that moves or hides text") {
  CHECK(text("a\r\nb\t\\") == "a\\r\\nb\\t\\\\");
  CHECK(text("\x1b[31m") == "\\x1b[31m");
  CHECK(text(std::string("\0", 1)) == "\\x00");
  CHECK(text("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(text("\xff") == "\\xff");
  CHECK(text("\xe2\x80\xae"
             "evil") ==
        "\\xe2\\x80\\xae"
        "evil");                                     // right-to-left override
  CHECK(text("\xc2\x9b") == "\\xc2\\x9b");           // CSI as a C1 control
  CHECK(text("\xe2\x80\xa8") == "\\xe2\\x80\\xa8");  // a line separator for Python and JavaScript
  CHECK(text("say \"x\"") == "say \"x\"");
  CHECK(text("say \"x\"", 4096, "\"") == "say \\\"x\\\"");
  CHECK(text("a>b", 4096, "<>") == "a\\x3eb");
  CHECK(admin::escaped("\"%s\"\n") == "\\\"%s\\\"\\n");
  CHECK(admin::json_string("\xe2\x80\xae") == "\"\\u202e\"");
}

TEST_CASE("output never passes the limit, is cut between characters and says so") {
  const std::string inputs[] = {std::string(5000, 'a'), std::string(1u << 20, '\xff'), std::string(300, '\n'),
                                "abc\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", "ab\x1b\x1b\x1b"};
  for (const std::string& raw : inputs) {
    const std::size_t whole = text(raw, 1u << 23).size();
    for (std::size_t limit = 0; limit < 600; ++limit) {
      const std::string cut = text(raw, limit);
      std::string inside;
      admin::append_json(inside, raw, limit);
      const bool fits = cut.size() <= limit && inside.size() <= limit;
      const bool valid = nlohmann::json::accept("\"" + inside + "\"");
      const bool marked = whole <= limit || limit < 3 || cut.ends_with("...");
      if (!fits || !valid || !marked) {
        CAPTURE(limit);
        CHECK(fits);
        CHECK(valid);
        CHECK(marked);
      }
    }
  }
  CHECK(text("0123456789", 10) == "0123456789");
  CHECK(text("0123456789x", 10) == "0123456...");
  CHECK(text("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 8) == "\xe2\x82\xac...");
}
