#include "config/merge.h"

#include <fmt/format.h>

#include <iterator>

namespace config {
namespace {

bool is_container(const Node& node) { return node.is(Node::Kind::object) || node.is(Node::Kind::array); }

// Only true and false are marks: "override" may also be the name of a downstream.
bool take_override(Node& object) {
  bool override = false;
  std::erase_if(object.children, [&](const Node& child) {
    const bool mark = child.key == "override" && child.is(Node::Kind::boolean);
    if (mark) override = child.boolean;
    return mark;
  });
  return override;
}

void drop_marks(Node& node) {
  if (node.is(Node::Kind::object)) take_override(node);
  for (Node& child : node.children) drop_marks(child);
}

void merge_objects(Node& into, Node later, const std::string& own, Problems& problems);

void merge_values(Node& into, Node later, bool override, const std::string& own, Problems& problems) {
  if (into.is(Node::Kind::object) && later.is(Node::Kind::object)) {
    merge_objects(into, std::move(later), own, problems);
  } else if (into.is(Node::Kind::array) && later.is(Node::Kind::array)) {
    for (Node& element : later.children) drop_marks(element);
    into.children.insert(into.children.end(), std::make_move_iterator(later.children.begin()),
                         std::make_move_iterator(later.children.end()));
  } else if (is_container(into) || is_container(later)) {
    problems.error(later.place, own,
                   fmt::format("{} here, but {} at {}", kind_text(later), kind_text(into), problems.where(into.place)));
  } else if (!override) {
    problems.error(later.place, own,
                   fmt::format("already given at {}; to replace it, say \"override\": true beside it",
                               problems.where(into.place)));
  } else {
    into = std::move(later);
  }
}

void merge_objects(Node& into, Node later, const std::string& own, Problems& problems) {
  const bool override = take_override(later);
  for (Node& member : later.children) {
    const std::string pointer = own + "/" + escape_pointer(member.key);
    Node* known = nullptr;
    for (Node& candidate : into.children)
      if (candidate.key == member.key) known = &candidate;
    if (known != nullptr) {
      merge_values(*known, std::move(member), override, pointer, problems);
    } else {
      drop_marks(member);
      into.children.push_back(std::move(member));
    }
  }
}

}  // namespace

void merge(Node& into, Node later, Problems& problems) { merge_values(into, std::move(later), false, "", problems); }

}  // namespace config
