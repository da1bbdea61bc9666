#include <algorithm>

#include "config/document.h"
#include "config/load.h"
#include "config/settings.h"
#include "config/value.h"

namespace config {
namespace {

Node object_of(const Section& section, void* owner);

// Of these no more than one may be written, so that one which is false is not.
bool is_choice(const Section& section, const Setting& setting) {
  return std::ranges::find(section.exactly_one_of, setting.key) != section.exactly_one_of.end();
}

Node section_of(const Section& section, void* parent) {
  Node out = section.nesting == Nesting::list ? Node::array() : Node::object();
  section.each(parent, [&](const std::string& name, void* owner) {
    Node entry = object_of(section, owner);
    if (section.nesting == Nesting::object) out = std::move(entry);
    if (section.nesting == Nesting::list) out.children.push_back(std::move(entry));
    if (section.nesting == Nesting::by_name) out.add(name, std::move(entry));
  });
  return out;
}

Node object_of(const Section& section, void* owner) {
  Node out = Node::object();
  for (const Setting& setting : section.settings) {
    auto value = write_value(setting, owner);
    if (!value || (is_choice(section, setting) && value->is(Node::Kind::boolean) && !value->boolean)) continue;
    out.add(setting.key, std::move(*value));
  }
  for (const Section& inner : section.sections) {
    Node entries = section_of(inner, owner);
    if (inner.nesting == Nesting::list && entries.children.empty()) continue;  // would not be taken again
    out.add(inner.key, std::move(entries));
  }
  return out;
}

}  // namespace

std::string show(const Config& config) {
  Config copy = config;  // the table hands out pointers that could be written through
  return format(object_of(root(), &copy));
}

}  // namespace config
