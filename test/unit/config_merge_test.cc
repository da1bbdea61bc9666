#include <doctest/doctest.h>

#include "config/merge.h"

namespace {

struct Merged {
  std::string text;  // of the result, without spaces and line feeds
  std::vector<std::string> errors;
};

Merged merged(const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < texts.size(); ++i) names.push_back("f" + std::to_string(i));
  config::Problems problems(names);
  std::optional<config::Node> all;
  for (std::uint32_t i = 0; i < texts.size(); ++i) {
    auto node = config::parse(texts[i], i, problems);
    REQUIRE(node);
    if (all) merge(*all, std::move(*node), problems);
    else all = std::move(node);
  }
  Merged out{format(*all), {}};
  std::erase_if(out.text, [](char c) { return c == ' ' || c == '\n'; });
  for (const config::Error& error : problems.errors()) out.errors.push_back(to_text(error));
  return out;
}

TEST_CASE("objects by key, arrays by appending, new keys at the end") {
  const Merged result = merged({R"({"a":{"x":1},"l":[1]})", R"({"l":[2,3],"a":{"y":2},"n":3})", R"({"l":[4],"a":{}})"});
  CHECK(result.text == R"({"a":{"x":1,"y":2},"l":[1,2,3,4],"n":3})");
  CHECK(result.errors.empty());
}

TEST_CASE("a scalar given twice") {
  CHECK(
      merged({"{\"a\":1}", "{\n\"a\":1}"}).errors ==
      std::vector<std::string>{"f1:2:5: /a: already given at f0:1:6; to replace it, say \"override\": true beside it"});
  CHECK(merged({"{\"a\":1}", "{\"a\":2,\"override\":true}"}).text == R"({"a":2})");
  CHECK(
      merged({"{\"a\":1}", "{\"a\":2,\"override\":true}", "{\"a\":3}"}).errors ==
      std::vector<std::string>{"f2:1:6: /a: already given at f1:1:6; to replace it, say \"override\": true beside it"});
  CHECK(merged({"{\"a\":1}", "{\"a\":2,\"override\":false}"}).errors.size() == 1);
  CHECK(merged({"{\"a\":1}", "{\"a\":null}"}).errors.size() == 1);
}

TEST_CASE("override counts for its own object alone") {
  const Merged outer = merged({R"({"o":{"a":1},"b":1})", R"({"override":true,"o":{"a":2},"b":2})"});
  CHECK(outer.errors.size() == 1);
  CHECK(outer.text == R"({"o":{"a":1},"b":2})");
  CHECK(merged({R"({"o":{"a":1}})", R"({"o":{"override":true,"a":2}})"}).text == R"({"o":{"a":2}})");
  // arrays append all the same
  CHECK(merged({R"({"l":[1]})", R"({"override":true,"l":[2]})"}).text == R"({"l":[1,2]})");
}

TEST_CASE("marks do not get into the result; a key of that name that is no mark does") {
  CHECK(merged({"{}", R"({"o":{"override":true,"a":[{"override":false,"b":1}]}})"}).text == R"({"o":{"a":[{"b":1}]}})");
  CHECK(merged({R"({"l":[]})", R"({"l":[{"override":true,"b":1}]})"}).text == R"({"l":[{"b":1}]})");
  CHECK(merged({"{}", R"({"override":{"b":1}})"}).text == R"({"override":{"b":1}})");
  CHECK(merged({R"({"override":true})"}).text == R"({"override":true})");
}

TEST_CASE("two kinds of value") {
  CHECK(merged({R"({"a":{"x":1}})", R"({"override":true,"a":[1]})"}).errors ==
        std::vector<std::string>{"f1:1:22: /a: an array here, but an object at f0:1:6"});
  CHECK(merged({R"({"a":[1]})", R"({"a":"x"})"}).errors ==
        std::vector<std::string>{"f1:1:6: /a: a string here, but an array at f0:1:6"});
  CHECK(merged({R"({"a/b":{"~":1}})", R"({"a/b":{"~":{}}})"}).errors ==
        std::vector<std::string>{"f1:1:13: /a~1b/~0: an object here, but a number at f0:1:13"});
}

}  // namespace
