#include <doctest/doctest.h>

#include "config/document.h"

namespace {

struct Parsed {
  std::optional<config::Node> node;
  std::vector<std::string> errors;
};

Parsed parsed(std::string_view text) {
  config::Problems problems({"f"});
  auto node = config::parse(text, 0, problems);
  Parsed out{std::move(node), {}};
  for (const config::Error& error : problems.errors()) out.errors.push_back(to_text(error));
  return out;
}

std::string place(const config::Place& place) {
  return std::to_string(place.line) + ":" + std::to_string(place.column);
}

TEST_CASE("values and their places") {
  const auto text =
      "// first\n"
      "{ /* a */ \"a\" : [1, -2 ,3.5e1,\"x\\\"y\", true,null],\r\n"
      "\t\"\xC3\xA9\":/**/{\"b\":false}//end\n"
      "}\n // trailing";
  const Parsed result = parsed(text);
  REQUIRE(result.node);
  CHECK(result.errors.empty());
  CHECK(place(result.node->place) == "2:1");
  const config::Node* list = result.node->find("a");
  REQUIRE(list != nullptr);
  CHECK(place(list->key_place) == "2:11");
  CHECK(place(list->place) == "2:17");
  REQUIRE(list->children.size() == 6);
  const char* places[] = {"2:18", "2:21", "2:25", "2:31", "2:39", "2:44"};
  for (std::size_t i = 0; i < 6; ++i) CHECK(place(list->children[i].place) == places[i]);
  CHECK(list->children[0].integer == 1);
  CHECK(list->children[1].text == "-2");
  CHECK(list->children[2].text == "3.5e1");
  CHECK(list->children[3].text == "x\"y");
  const config::Node* inner = result.node->find("\xC3\xA9");
  REQUIRE(inner != nullptr);
  CHECK(place(inner->key_place) == "3:2");
  CHECK(place(inner->place) == "3:11");  // columns count octets
  CHECK(place(inner->find("b")->place) == "3:16");
}

TEST_CASE("a byte order mark is no column") {
  const Parsed result = parsed("\xEF\xBB\xBF{}");
  REQUIRE(result.node);
  CHECK(place(result.node->place) == "1:1");
}

struct Bad {
  std::string text;
  const char* error;
};

TEST_CASE("syntax errors") {
  const Bad cases[] = {
      {"", "f:1:1: unexpected end of input; expected '[', '{', or a literal"},
      {"{", "f:1:2: unexpected end of input; expected string literal"},
      {"{\"a\": 1,}", "f:1:9: unexpected '}'; expected string literal"},
      {"{\"a\": [1,,2]}", "f:1:10: /a/1: unexpected ','; expected '[', '{', or a literal"},
      {"{\n \"a\" \"b\"}", "f:2:6: /a: unexpected string literal; expected ':'"},
      {"{} x", "f:1:4: invalid literal; expected end of input"},
      {"{a: 1}", "f:1:2: invalid literal; expected string literal"},
      {"{\"a\": 'x'}", "f:1:7: /a: invalid literal"},
      {"{\"a\": 01}", "f:1:8: unexpected number literal; expected '}'"},
      {"{\"a\": 1.5-2}", "f:1:10: unexpected number literal; expected '}'"},
      {"{\"a\": 1e999}", "f:1:7: /a: number overflow parsing '1e999'"},
      {"{\"a\": \"x\ny\"}",
       "f:1:7: /a: invalid string: control character U+000A (LF) must be escaped to \\u000A or \\n"},
      {"{\"a\": \"\\ud800\"}",
       "f:1:7: /a: invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"},
      {"{\"a\": \"\\q\"}", "f:1:7: /a: invalid string: forbidden character after backslash"},
      {"{\"a\": \"x", "f:1:7: /a: invalid string: missing closing quote"},
      {"{\"a\": 1 /* x", "f:1:9: invalid comment; missing closing '*/'; expected '}'"},
      {"{} # x", "f:1:4: invalid literal; expected end of input"},
      {std::string("{}\0{}", 5), "f:1:3: control character U+0000; the file must be UTF-8 text"},
      {"// \x01\n{}", "f:1:4: control character U+0001; the file must be UTF-8 text"},
      {"{\n\"a\": \"b\xFF\"}", "f:2:8: invalid UTF-8 (octet 0xFF); the file must be UTF-8 text"},
      {"// caf\xE9\n{}", "f:1:7: invalid UTF-8 (octet 0xE9); the file must be UTF-8 text"},
      {"\"\xC0\xAF\"", "f:1:2: invalid UTF-8 (octet 0xC0); the file must be UTF-8 text"},
      {"\"\xE0\x80\x80\"", "f:1:2: invalid UTF-8 (octet 0xE0); the file must be UTF-8 text"},
      {"\"\xED\xA0\x80\"", "f:1:2: invalid UTF-8 (octet 0xED); the file must be UTF-8 text"},
      {"\"\xF4\x90\x80\x80\"", "f:1:2: invalid UTF-8 (octet 0xF4); the file must be UTF-8 text"},
      {"\"\xE2\x82", "f:1:2: invalid UTF-8 (octet 0xE2); the file must be UTF-8 text"},
  };
  for (const Bad& bad : cases) {
    CAPTURE(bad.text);
    const Parsed result = parsed(bad.text);
    CHECK_FALSE(result.node);
    REQUIRE(result.errors.size() == 1);
    CHECK(result.errors[0] == bad.error);
  }
}

TEST_CASE("duplicate keys are reported, the first one stands") {
  const Parsed result = parsed("{\"a\": {\"x\": 1,\n \"x\": {\"y\": 2, \"y\": 3}}, \"\\u0061\": 4}");
  REQUIRE(result.node);
  CHECK(result.errors == std::vector<std::string>{"f:2:2: /a/x: duplicate key \"x\"; the first one stands at line 1",
                                                  "f:2:16: /a/x/y: duplicate key \"y\"; the first one stands at line 2",
                                                  "f:2:26: /a: duplicate key \"a\"; the first one stands at line 1"});
  CHECK(result.node->children.size() == 1);
  CHECK(result.node->find("a")->find("x")->integer == 1);
}

TEST_CASE("depth is bounded, not the stack") {
  std::string deep(100'000, '[');
  CHECK(parsed(deep).errors.at(0).ends_with(": nested deeper than 64 levels"));
  CHECK(parsed(deep).errors.size() == 1);
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  CHECK(parsed(nested(64)).node);
  CHECK_FALSE(parsed(nested(65)).node);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK(parsed(objects).errors.size() == 1);
}

TEST_CASE("a key longer than any key") {
  const Parsed result = parsed("{\"" + std::string(257, 'k') + "\": 1}");
  CHECK(result.errors == std::vector<std::string>{"f:1:2: a key has more than 256 octets"});
  CHECK(parsed("{\"" + std::string(256, 'k') + "\": 1}").node);
}

TEST_CASE("many keys in one object") {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += "\"k" + std::to_string(i) + "\":0,";
  CHECK(parsed(text + "\"k7\":1}").errors.size() == 1);
}

TEST_CASE("format and parse again") {
  const char* text =
      "{\n  \"a\": [1, \"x\\n\\\"\", true, null, -2.5],\n  \"b\": {\n    \"c\": {},\n    \"d\": [\n      {\n"
      "        \"e\": []\n      }\n    ]\n  }\n}\n";
  const Parsed result = parsed(text);
  REQUIRE(result.node);
  CHECK(format(*result.node) == text);
}

}  // namespace
