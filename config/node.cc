#include <nlohmann/json.hpp>

#include "config/document.h"

namespace config {
namespace {

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool is_short_list(const Node& node) {
  if (!node.is(Node::Kind::array)) return false;
  for (const Node& child : node.children)
    if (child.is(Node::Kind::array) || child.is(Node::Kind::object)) return false;
  return true;
}

void write(std::string& out, const Node& node, std::size_t indent) {
  switch (node.kind) {
    case Node::Kind::null:
      out += "null";
      return;
    case Node::Kind::boolean:
      out += node.boolean ? "true" : "false";
      return;
    case Node::Kind::integer:
      out += std::to_string(node.integer);
      return;
    case Node::Kind::number:
      out += node.text;
      return;
    case Node::Kind::string:
      out += json_string(node.text);
      return;
    case Node::Kind::array:
    case Node::Kind::object:
      break;
  }
  const bool object = node.is(Node::Kind::object);
  const bool on_one_line = is_short_list(node) || node.children.empty();
  out += object ? '{' : '[';
  bool first = true;
  for (const Node& child : node.children) {
    if (!std::exchange(first, false)) out += on_one_line ? ", " : ",";
    if (!on_one_line) out += "\n" + std::string(indent + 2, ' ');
    if (object) out += json_string(child.key) + ": ";
    write(out, child, indent + 2);
  }
  if (!on_one_line) out += "\n" + std::string(indent, ' ');
  out += object ? '}' : ']';
}

}  // namespace

const Node* Node::find(std::string_view name) const {
  for (const Node& child : children)
    if (child.key == name) return &child;
  return nullptr;
}

Node Node::of(bool value) {
  Node node;
  node.kind = Kind::boolean;
  node.boolean = value;
  return node;
}

Node Node::of(std::uint64_t value) {
  Node node;
  node.kind = Kind::integer;
  node.integer = value;
  return node;
}

Node Node::of(std::string_view value) {
  Node node;
  node.kind = Kind::string;
  node.text = value;
  return node;
}

Node Node::object() {
  Node node;
  node.kind = Kind::object;
  return node;
}

Node Node::array() {
  Node node;
  node.kind = Kind::array;
  return node;
}

Node Node::strings(const std::vector<std::string_view>& values) {
  Node node = array();
  for (const std::string_view value : values) node.children.push_back(of(value));
  return node;
}

Node& Node::add(std::string_view name, Node value) {
  value.key = name;
  children.push_back(std::move(value));
  return *this;
}

std::string_view kind_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::boolean:
      return node.boolean ? "true" : "false";
    case Node::Kind::integer:
    case Node::Kind::number:
      return "a number";
    case Node::Kind::string:
      return "a string";
    case Node::Kind::array:
      return "an array";
    case Node::Kind::object:
      return "an object";
  }
  return "";
}

std::string format(const Node& node) {
  std::string out;
  write(out, node, 0);
  return out + "\n";
}

}  // namespace config
