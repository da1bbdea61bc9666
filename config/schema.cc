#include "config/document.h"
#include "config/load.h"
#include "config/settings.h"
#include "config/value.h"

namespace config {
namespace {

Node typed(std::string_view type) { return Node::object().add("type", Node::of(type)); }
Node matching(std::string_view pattern) { return typed("string").add("pattern", Node::of(pattern)); }
Node integers(const Bounds& bounds) {
  Node node = typed("integer").add("minimum", Node::of(bounds.least));
  if (bounds.most != Bounds{}.most) node.add("maximum", Node::of(bounds.most));
  return node;
}
Node either(Node first, Node second) {
  Node choices = Node::array();
  choices.children.push_back(std::move(first));
  choices.children.push_back(std::move(second));
  return Node::object().add("anyOf", std::move(choices));
}
Node list_of(Node items) {
  return typed("array")
      .add("items", std::move(items))
      .add("minItems", Node::of(std::uint64_t{1}))
      .add("uniqueItems", Node::of(true));
}
Node words(const std::vector<std::string_view>& all) { return Node::object().add("enum", Node::strings(all)); }

// One call operator per type that a Slot may point to; ranges of durations and sizes with units only the loader knows.
struct Schema {
  const Bounds& bounds;

  Node text() const {
    if (!bounds.words.empty()) return words(bounds.words);
    Node string = matching(bounds.shape->pattern);
    if (!bounds.shape->number_too) return string;
    return either(std::move(string), typed("integer").add("minimum", Node::of(std::uint64_t{1})));
  }
  Node endpoint() const {
    if (bounds.literal) return matching("^([^\\[\\]:]+|\\[[^\\]]+\\]):[0-9]{1,5}$");
    return matching("^(([^\\[\\]:]+|\\[[^\\]]+\\]):[0-9]{1,5}|unix:/.{1,106})$");
  }

  Node operator()(const bool*) const { return typed("boolean"); }
  Node operator()(const std::uint32_t*) const { return integers(bounds); }
  Node operator()(const std::uint64_t*) const { return either(integers(bounds), matching("^[0-9]+[KMG]?$")); }
  Node operator()(const milliseconds*) const { return matching("^(0|[0-9]+(ms|s|m|h))$"); }
  Node operator()(const std::string*) const { return text(); }
  Node operator()(const std::optional<std::string>*) const { return text(); }
  Node operator()(const std::vector<std::string>*) const { return list_of(text()); }
  Node operator()(const Endpoint*) const { return endpoint(); }
  Node operator()(const std::vector<Endpoint>*) const { return list_of(endpoint()); }
  Node operator()(const std::vector<Netmask>*) const { return list_of(matching("^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$")); }
  Node operator()(const std::vector<std::uint16_t>*) const { return list_of(integers({.least = 1, .most = 65535})); }
  template <class Enum>
  requires std::is_enum_v<Enum> Node operator()(const std::vector<Enum>*) const {
    return list_of(words(words_of(Enum{})));
  }
  template <class Enum>
  requires std::is_enum_v<Enum> Node operator()(const Enum*) const {
    return words(bounds.words.empty() ? words_of(Enum{}) : bounds.words);
  }
};

Node schema_of(const Setting& setting, void* fresh) {
  Node node = std::visit(Schema{setting.bounds}, setting.slot(fresh));
  node.add("description", Node::of(setting.sentence));
  if (setting.bounds.required || !setting.bounds.computed.empty()) return node;
  if (auto value = write_value(setting, fresh)) node.add("default", std::move(*value));
  return node;
}

Node schema_of(const Section& section);

Node properties_of(const Section& section) {
  Node properties = Node::object();
  section.with_defaults([&](void* fresh) {
    for (const Setting& setting : section.settings) properties.add(setting.key, schema_of(setting, fresh));
  });
  for (const Section& inner : section.sections) properties.add(inner.key, schema_of(inner));
  return properties;
}

// One struct of the section.
Node entry_schema(const Section& section) {
  std::vector<std::string_view> required;
  for (const Setting& setting : section.settings)
    if (setting.bounds.required) required.push_back(setting.key);
  for (const Section& inner : section.sections)
    if (inner.required) required.push_back(inner.key);
  Node node = typed("object").add("properties", properties_of(section)).add("additionalProperties", Node::of(false));
  if (!required.empty()) node.add("required", Node::strings(required));
  if (section.exactly_one_of.empty()) return node;
  Node choices = Node::array();
  for (const std::string_view key : section.exactly_one_of)
    choices.children.push_back(Node::object().add("required", Node::strings({key})));
  return node.add("oneOf", std::move(choices));
}

Node schema_of(const Section& section) {
  Node node = entry_schema(section);
  if (section.nesting == Nesting::list)
    node = typed("array").add("items", std::move(node)).add("minItems", Node::of(std::uint64_t{1}));
  if (section.nesting == Nesting::by_name)
    node =
        typed("object").add("propertyNames", matching(entry_name.pattern)).add("additionalProperties", std::move(node));
  if (section.most_entries != 0) node.add("maxProperties", Node::of(section.most_entries));
  return node.add("description", Node::of(section.sentence));
}

}  // namespace

std::string schema() {
  Node node = Node::object().add("$schema", Node::of("https://json-schema.org/draft/2020-12/schema"));
  node.add("title", Node::of("gatepost.json"));
  for (Node& member : schema_of(root()).children) node.children.push_back(std::move(member));
  return format(node);
}

}  // namespace config
