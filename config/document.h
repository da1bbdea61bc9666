// A JSON text (RFC 8259, with // and /* */ comments) as an ordered tree that knows where each part stood.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"

namespace config {

struct Node {
  enum class Kind { null, boolean, integer, number, string, array, object };
  Kind kind = Kind::null;
  bool boolean = false;
  std::uint64_t integer = 0;   // Kind::integer: 0 to 2^64-1
  std::string text;            // Kind::string: the value; Kind::number (negative, fraction, exponent): its spelling
  std::vector<Node> children;  // of an array or object, in file order
  std::string key;             // as a member of an object
  std::size_t index = 0;       // as an element of an array: its index in its own file
  Place key_place, place;

  const Node* find(std::string_view name) const;  // a member; null = none
  bool is(Kind wanted) const { return kind == wanted; }

  static Node of(bool value);
  static Node of(std::uint64_t value);
  static Node of(std::string_view value);
  static Node of(const char* value) { return of(std::string_view(value)); }  // or it would become a bool
  static Node object();
  static Node array();
  static Node strings(const std::vector<std::string_view>& values);
  Node& add(std::string_view name, Node value);  // a member at the end; returns this object
};
// For messages: "a string", "an object" ...
std::string_view kind_text(const Node& node);

// Containers inside each other, the outermost included.
constexpr std::size_t max_depth = 64;
constexpr std::size_t max_key_size = 256;

// Parses text of the file with that index. Syntax errors, NUL, invalid UTF-8 and too much depth end the parse (nothing
// is returned, one error); a duplicate key is an error that drops the later value and goes on.
std::optional<Node> parse(std::string_view text, std::uint32_t file, Problems& problems);
// Indented by two; ends with a line feed.
std::string format(const Node& node);

}  // namespace config
