#include <doctest/doctest.h>

#include <functional>
#include <set>

#include "config/document.h"
#include "config/load.h"
#include "config/settings.h"
#include "config/value.h"
#include "config_fixture.h"

namespace {

using config::Node;
using config_test::machine;
using config_test::with;

config::Node parsed(const std::string& text) {
  config::Problems problems({"f"});
  auto node = config::parse(text, 0, problems);
  REQUIRE(node);
  return std::move(*node);
}

TEST_CASE("show is a config that shows the same") {
  const std::string odd =
      R"({"listeners":[{"name":"b","address":"[::1]:0","downstream":"z","line_ends":"refuse","nul":"pass",)"
      R"("max_message":1,"command_timeout":"61s","min_data_rate":2048},{"name":"a","address":"127.0.0.1:25",)"
      R"("downstream":"mta"}],"downstreams":{"z":{"path":"/m/\"\u00e9/%local","create":true},)"
      R"("mta":{"servers":["two.test:25","mx.test:25","[::1]:26"],"keepalive":"0s","accept_source_loss":true}},)"
      R"("defaults":{"suspicious":"defer","unscannable":{"encrypted":"relay","time":"refuse"}},)"
      R"("users":{"proxy":"901","keeper":64002},"log":{"format":"json","to":"/var/log/x"},"loops":3,)"
      R"("limits":{"scan_wait":"1500ms"},"spool":{"memory":0},"dns":{"hosts":"","forwarders":["127.0.0.1:53"]}})";
  for (const std::string& text : {with(""), odd}) {
    const auto first = config::build({{"f", text}}, machine());
    REQUIRE(first);
    const std::string shown = show(*first->config);
    CAPTURE(shown);
    const auto second = config::build({{"shown", shown}}, machine());
    REQUIRE(second);
    CHECK(show(*second->config) == shown);
    CHECK(second->config->downstreams.at("mta").servers.size() == first->config->downstreams.at("mta").servers.size());
    CHECK(second->config->proxy_account.gid == 801);
  }
}

// Lists and optional texts that nobody gave have no value to show.
bool may_be_absent(const config::Setting& setting, void* fresh) {
  const config::Slot slot = setting.slot(fresh);
  return std::holds_alternative<std::vector<std::string>*>(slot) ||
         std::holds_alternative<std::vector<config::Netmask>*>(slot) ||
         std::holds_alternative<std::vector<config::Endpoint>*>(slot) ||
         std::holds_alternative<std::optional<std::string>*>(slot);
}

TEST_CASE("show names every key that has a value") {
  const auto loaded = config::build({{"f", with("")}}, machine());
  REQUIRE(loaded);
  const Node shown = parsed(show(*loaded->config));
  std::set<std::string> absent;
  const std::function<void(const config::Section&, const Node&, const std::string&)> look =
      [&](const config::Section& section, const Node& object, const std::string& at) {
        section.with_defaults([&](void* fresh) {
          for (const config::Setting& setting : section.settings)
            if (object.find(setting.key) == nullptr && !may_be_absent(setting, fresh))
              absent.insert(at + std::string(setting.key));
        });
        for (const config::Section& inner : section.sections) {
          const Node* node = object.find(inner.key);
          if (node == nullptr && inner.nesting == config::Nesting::list && !inner.required) continue;  // none given
          REQUIRE(node != nullptr);
          const Node& entry = inner.nesting == config::Nesting::object ? *node : node->children.at(0);
          look(inner, entry, at + std::string(inner.key) + ".");
        }
      };
  look(config::root(), shown, "");
  CHECK(absent == std::set<std::string>{"downstreams.original"});  // one of three, and not the one
}

// The part of JSON Schema that schema() uses, apart from patterns.
bool accepts(const Node& schema, const Node& value) {
  if (const Node* any = schema.find("anyOf")) {
    for (const Node& each : any->children)
      if (accepts(each, value)) return true;
    return false;
  }
  if (const Node* words = schema.find("enum")) {
    for (const Node& word : words->children)
      if (value.is(Node::Kind::string) && value.text == word.text) return true;
    return false;
  }
  const std::string& type = schema.find("type")->text;
  if (type == "integer")
    return value.is(Node::Kind::integer) && value.integer >= schema.find("minimum")->integer &&
           (schema.find("maximum") == nullptr || value.integer <= schema.find("maximum")->integer);
  if (type == "string") return value.is(Node::Kind::string);
  if (type == "boolean") return value.is(Node::Kind::boolean);
  if (type == "array") {
    if (!value.is(Node::Kind::array)) return false;
    for (const Node& element : value.children)
      if (!accepts(*schema.find("items"), element)) return false;
    return true;
  }
  if (!value.is(Node::Kind::object)) return false;
  if (const Node* required = schema.find("required"))
    for (const Node& key : required->children)
      if (value.find(key.text) == nullptr) return false;
  const Node* properties = schema.find("properties");
  const Node* others = schema.find("additionalProperties");
  for (const Node& member : value.children) {
    const Node* known = properties == nullptr ? nullptr : properties->find(member.key);
    if (known == nullptr && others->is(Node::Kind::boolean)) return false;
    if (!accepts(known == nullptr ? *others : *known, member)) return false;
  }
  return true;
}

constexpr const char* smallest = R"({
  "hostname": "mx.example.org",
  "listeners":   [ { "name": "inbound", "protocol": "smtp", "address": "127.0.0.1:2525", "downstream": "mta" } ],
  "downstreams": { "mta": { "protocol": "smtp", "servers": ["127.0.0.1:10026"] } },
  "scanners":    { "clamav": { "engine": "libclamav", "signatures": ["/var/lib/clamav"], "workers": 2 } }
})";

TEST_CASE("schema") {
  const Node schema = parsed(config::schema());
  CHECK(schema.find("$schema")->text == "https://json-schema.org/draft/2020-12/schema");
  CHECK(accepts(schema, parsed(smallest)));
  const auto loaded = config::build({{"f", smallest}}, machine());
  REQUIRE(loaded);
  CHECK(accepts(schema, parsed(show(*loaded->config))));
  for (const char* wrong :
       {"{}", R"({"listeners":[],"downstreams":{},"x":1})", R"({"listeners":{},"downstreams":{}})",
        R"({"listeners":[],"downstreams":{},"loops":"1"})", R"({"listeners":[],"downstreams":{},"loops":1025})",
        R"({"listeners":[{"name":"a"}],"downstreams":{}})", R"({"listeners":[],"downstreams":{"a":{"x":1}}})",
        R"({"listeners":[],"downstreams":{},"log":{"format":"xml"}})"}) {
    CAPTURE(wrong);
    CHECK_FALSE(accepts(schema, parsed(wrong)));
  }
}

// Every default of the table is one that the table itself accepts.
void check_defaults(const config::Section& section) {
  section.with_defaults([&](void* fresh) {
    for (const config::Setting& setting : section.settings) {
      CAPTURE(setting.key);
      CHECK(setting.sentence.ends_with('.'));
      const auto value = config::write_value(setting, fresh);
      if (!value) continue;
      config::Problems problems({"f"});
      config::read_value(setting, fresh, *value, config::Path{}.member(setting.key), machine(), problems);
      CHECK_FALSE(problems.any());
    }
  });
  for (const config::Section& inner : section.sections) check_defaults(inner);
}

TEST_CASE("defaults are within their own ranges") { check_defaults(config::root()); }

TEST_CASE("manual") {
  const std::string manual = config::manual();
  CHECK(manual.find(".It Cm limits.scan_wait Pq a duration, 1ms to 1h\nLongest wait of a reply for the scan.\n"
                    "Default: 1m.\n") != std::string::npos);
  CHECK(manual.find(".It Cm listeners[].name Pq a name\nName of the listener in logs and metrics.\nRequired.\n") !=
        std::string::npos);
  CHECK(manual.find(".It Cm scanners.NAME.memory Pq a size, 16M to 1024G\n") != std::string::npos);
  CHECK(manual.find(".It Cm defaults.error Pq defer | relay\n") != std::string::npos);
}

}  // namespace
