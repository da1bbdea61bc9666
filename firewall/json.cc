#include "firewall/json.h"

#include "config/load.h"

namespace firewall {
namespace {

using Kind = Node::Kind;

const Node* member(const Node& object, std::string_view key, Kind kind) {
  const Node* found = object.find(key);
  return found != nullptr && found->is(kind) ? found : nullptr;
}

}  // namespace

std::expected<Node, std::string> parse_json(std::string_view text, const std::string& name) {
  config::Problems problems({name});
  std::optional<Node> node = config::parse(text, 0, problems);
  if (problems.any()) return std::unexpected(config::to_text(problems.errors().front()));
  if (!node || !node->is(Kind::object)) return std::unexpected(name + ": is no JSON object");
  return std::move(*node);
}

std::string text_at(const Node& object, std::string_view key) {
  const Node* found = member(object, key, Kind::string);
  return found == nullptr ? "" : found->text;
}

bool flag_at(const Node& object, std::string_view key) {
  const Node* found = member(object, key, Kind::boolean);
  return found != nullptr && found->boolean;
}

std::uint64_t number_at(const Node& object, std::string_view key) {
  const Node* found = member(object, key, Kind::integer);
  return found == nullptr ? 0 : found->integer;
}

const std::vector<Node>& items_at(const Node& object, std::string_view key) {
  static const std::vector<Node> none;
  const Node* found = object.find(key);
  return found == nullptr ? none : found->children;
}

std::vector<std::string> texts_at(const Node& object, std::string_view key) {
  std::vector<std::string> all;
  for (const Node& each : items_at(object, key))
    if (each.is(Kind::string)) all.push_back(each.text);
  return all;
}

std::vector<std::uint16_t> numbers_at(const Node& object, std::string_view key) {
  std::vector<std::uint16_t> all;
  for (const Node& each : items_at(object, key))
    if (each.is(Kind::integer)) all.push_back(static_cast<std::uint16_t>(each.integer));
  return all;
}

Node texts(const std::vector<std::string>& values) { return Node::strings({values.begin(), values.end()}); }

Node numbers(const std::vector<std::uint16_t>& values) {
  Node list = Node::array();
  for (const std::uint16_t each : values) list.children.push_back(Node::of(std::uint64_t{each}));
  return list;
}

}  // namespace firewall
