#include "config/document.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "config/cursor.h"
#include "config/quote.h"

namespace config {
namespace {

// nlohmann's sentence without its prefix, its position and what it read last (the file's own octets).
std::string syntax_text(std::string text) {
  const std::size_t dash = text.find(" - ");
  const std::size_t bracket = text.find("] ");
  if (dash != std::string::npos) text.erase(0, dash + 3);
  else if (bracket != std::string::npos) text.erase(0, bracket + 2);
  const std::size_t last_read = text.find("; last read: '");
  const std::size_t quote = text.rfind('\'');
  const std::size_t expected = text.rfind("; expected ");
  if (last_read != std::string::npos) {
    const bool names_expected = expected != std::string::npos && expected > last_read;
    text.erase(last_read, (names_expected ? expected : quote + 1) - last_read);
  }
  return visible(text, 160);
}

class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(std::string_view text, std::uint32_t file, Problems& problems) : cursor_(text, file), problems_(problems) {}

  bool null() override { return scalar({}); }
  bool boolean(bool value) override { return scalar(Node::of(value)); }
  bool number_integer(number_integer_t) override { return spelled(); }
  bool number_unsigned(number_unsigned_t value) override { return scalar(Node::of(std::uint64_t{value})); }
  bool number_float(number_float_t, const string_t&) override { return spelled(); }
  bool string(string_t& value) override { return scalar(Node::of(std::string_view(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Node::Kind::object); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Node::Kind::array); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    Frame& frame = open_.back();
    frame.key_place = cursor_.take();
    if (value.size() > max_key_size) {
      problems_.error(frame.key_place, pointer(), fmt::format("a key has more than {} octets", max_key_size));
      return false;
    }
    frame.key = value;
    frame.has_key = true;
    const auto [first, fresh] = frame.seen.emplace(value, frame.key_place);
    frame.duplicate = !fresh;
    if (!fresh)
      problems_.error(
          frame.key_place, pointer(),
          fmt::format("duplicate key {}; the first one stands at line {}", in_quotes(value), first->second.line));
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& failure) override {
    problems_.error(cursor_.next(), pointer(), syntax_text(failure.what()));
    return false;
  }

  Node take_root() { return std::move(root_); }

 private:
  struct Frame {
    Node node;
    std::string key;
    Place key_place;
    bool has_key = false, duplicate = false;
    std::unordered_map<std::string, Place> seen;
  };

  bool scalar(Node node) {
    node.place = cursor_.take();
    attach(std::move(node));
    return true;
  }
  bool spelled() {
    Node node;
    node.kind = Node::Kind::number;
    node.place = cursor_.take();
    node.text = cursor_.token();
    attach(std::move(node));
    return true;
  }
  bool open(Node::Kind kind) {
    const Place place = cursor_.take();
    if (open_.size() == max_depth) {
      problems_.error(place, pointer(), fmt::format("nested deeper than {} levels", max_depth));
      return false;
    }
    Frame& frame = open_.emplace_back();
    frame.node.kind = kind;
    frame.node.place = place;
    return true;
  }
  bool close() {
    cursor_.take();
    Node node = std::move(open_.back().node);
    open_.pop_back();
    attach(std::move(node));
    return true;
  }
  void attach(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = open_.back();
    if (frame.node.is(Node::Kind::object)) {
      node.key = frame.key;
      node.key_place = frame.key_place;
      frame.has_key = false;
    } else {
      node.index = frame.node.children.size();
    }
    if (!std::exchange(frame.duplicate, false)) frame.node.children.push_back(std::move(node));
  }
  std::string pointer() const {
    std::string out;
    for (const Frame& frame : open_) {
      if (frame.node.is(Node::Kind::array)) out += "/" + std::to_string(frame.node.children.size());
      else if (frame.has_key) out += "/" + escape_pointer(frame.key);
    }
    return out;
  }

  Cursor cursor_;
  Problems& problems_;
  std::vector<Frame> open_;
  Node root_;
};

}  // namespace

std::optional<Node> parse(std::string_view text, std::uint32_t file, Problems& problems) {
  // The lexer would end at a NUL without a word and let invalid UTF-8 stand in comments.
  if (const auto bad = find_bad_octet(text, file)) {
    problems.error(bad->place, "", bad->what + "; the file must be UTF-8 text");
    return std::nullopt;
  }
  Builder builder(text, file, problems);
  constexpr bool strict = true, ignore_comments = true;
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &builder,
                                                nlohmann::json::input_format_t::json, strict, ignore_comments);
  if (!parsed) return std::nullopt;
  return builder.take_root();
}

}  // namespace config
