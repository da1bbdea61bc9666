#include "config/value.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/byte_size.h"
#include "config/duration.h"
#include "config/nearest.h"
#include "config/quote.h"

namespace config {
namespace {

std::string in_list(const std::vector<std::string_view>& words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i)
    out += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + in_quotes(words[i]);
  return out;
}

// One call operator per type that a Slot may point to.
class Reader {
 public:
  Reader(const Bounds& bounds, const Node& node, const Path& path, const Surroundings& machine, Problems& problems)
      : bounds_(bounds), node_(node), path_(path), machine_(machine), problems_(problems) {}

  void operator()(bool* value) const {
    if (!node_.is(Node::Kind::boolean)) return unexpected("true or false");
    *value = node_.boolean;
  }
  void operator()(std::uint32_t* value) const {
    if (!node_.is(Node::Kind::integer)) return unexpected("a whole number");
    if (in_bounds(node_.integer, [](std::uint64_t n) { return std::to_string(n); }))
      *value = static_cast<std::uint32_t>(node_.integer);
  }
  void operator()(std::uint64_t* value) const {
    std::optional<std::uint64_t> size;
    if (node_.is(Node::Kind::integer)) size = node_.integer;
    if (node_.is(Node::Kind::string)) size = parse_byte_size(node_.text);
    if (!size) return unexpected("a size in octets, such as \"25M\", \"256K\" or 1000");
    if (in_bounds(*size, format_byte_size)) *value = *size;
  }
  void operator()(milliseconds* value) const {
    std::optional<milliseconds> duration;
    if (node_.is(Node::Kind::string)) duration = parse_duration(node_.text);
    if (!duration) return unexpected("a duration such as \"30s\", \"5m\", \"2h\" or \"100ms\"");
    const auto text = [](std::uint64_t n) { return format_duration(milliseconds{n}); };
    if (in_bounds(static_cast<std::uint64_t>(duration->count()), text)) *value = *duration;
  }
  void operator()(std::string* value) const {
    if (auto text = shaped(node_, path_)) *value = *text;
  }
  void operator()(std::optional<std::string>* value) const {
    if (auto text = shaped(node_, path_)) *value = *text;
  }
  void operator()(std::vector<std::string>* value) const {
    value->clear();
    each_text([&](const Node& element, const Path& at) {
      if (auto text = shaped(element, at)) value->push_back(*text);
    });
  }
  void operator()(Endpoint* value) const {
    if (!node_.is(Node::Kind::string))
      return unexpected("HOST:PORT or unix:PATH, such as \"127.0.0.1:25\" or \"[::1]:25\"");
    const std::optional<Endpoint> written = endpoint(node_, path_);
    if (!written) return;
    if (!written->is_name()) *value = *written;
    else if (const std::optional<Endpoint> only = only_address(*written)) *value = *only;
  }
  void operator()(std::vector<Endpoint>* value) const {
    each_text([&](const Node& element, const Path& at) {
      std::optional<Endpoint> written = endpoint(element, at);
      if (!written) return;
      if (bounds_.literal && written->is_name())
        return error(at, fmt::format("{} is a name; write its address", in_quotes(written->host)));
      if (bounds_.literal && written->is_unix())
        return error(at, fmt::format("{} is no network address", in_quotes(written->text)));
      value->push_back(std::move(*written));
    });
  }
  void operator()(std::vector<Netmask>* value) const {
    each_text([&](const Node& element, const Path& at) {
      auto netmask = parse_netmask(element.text);
      if (netmask) value->push_back(std::move(*netmask));
      else error(at, in_quotes(element.text) + " " + netmask.error());
    });
  }
  void operator()(std::vector<std::uint16_t>* value) const {
    value->clear();
    each_element(Node::Kind::integer, "a port number", [&](const Node& element, const Path& at) {
      if (element.integer >= 1 && element.integer <= 65535)
        value->push_back(static_cast<std::uint16_t>(element.integer));
      else error(at, fmt::format("{} is no port; it is between 1 and 65535", element.integer));
    });
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void operator()(std::vector<Enum>* value) const {
    const std::vector<std::string_view> all = words_of(Enum{});
    value->clear();
    each_text([&](const Node& element, const Path& at) {
      const auto found = std::ranges::find(all, element.text);
      if (found == all.end()) unknown_word(element, at, all);
      else value->push_back(static_cast<Enum>(found - all.begin()));
    });
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void operator()(Enum* value) const {
    const std::vector<std::string_view> all = words_of(Enum{});
    const std::vector<std::string_view>& allowed = bounds_.words.empty() ? all : bounds_.words;
    if (!node_.is(Node::Kind::string)) return unexpected(in_list(allowed));
    if (std::ranges::find(allowed, node_.text) == allowed.end()) return unknown_word(node_, path_, allowed);
    *value = static_cast<Enum>(std::ranges::find(all, node_.text) - all.begin());
  }

 private:
  void error(const Path& path, std::string text) const { problems_.error(path.merged, std::move(text)); }
  void unexpected(std::string_view what) const { unexpected(node_, path_, what); }
  void unexpected(const Node& node, const Path& path, std::string_view what) const {
    const bool spelled = node.is(Node::Kind::string);
    error(path, fmt::format("expects {}, not {}", what, spelled ? in_quotes(node.text) : std::string(kind_text(node))));
  }
  void unknown_word(const Node& node, const Path& path, const std::vector<std::string_view>& words) const {
    error(path, fmt::format("{} is not known here, only {}{}", in_quotes(node.text), in_list(words),
                            did_you_mean(node.text, words)));
  }
  template <class Format>
  bool in_bounds(std::uint64_t number, Format text) const {
    if (number >= bounds_.least && number <= bounds_.most) return true;
    error(path_, fmt::format("{} is out of range; it is between {} and {}", text(number), text(bounds_.least),
                             text(bounds_.most)));
    return false;
  }

  std::optional<std::string> shaped(const Node& node, const Path& path) const {
    const TextShape& shape = *bounds_.shape;
    const bool digits = shape.number_too && node.is(Node::Kind::integer);
    if (!node.is(Node::Kind::string) && !digits) {
      unexpected(node, path, bounds_.words.empty() ? std::string(shape.name) : in_list(bounds_.words));
      return std::nullopt;
    }
    const std::string text = digits ? std::to_string(node.integer) : node.text;
    // A line feed or NUL in a path or name would be cut or split by whoever gets it next.
    if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; })) {
      error(path, in_quotes(text) + " holds a control character");
      return std::nullopt;
    }
    if (!bounds_.words.empty() && std::ranges::find(bounds_.words, text) == bounds_.words.end()) {
      unknown_word(node, path, bounds_.words);
      return std::nullopt;
    }
    const std::string wrong = shape.wrong(text);
    if (!wrong.empty()) {
      error(path, in_quotes(text) + " " + wrong);
      return std::nullopt;
    }
    return text;
  }

  template <class Take>
  void each_text(Take take) const {
    each_element(Node::Kind::string, "a string", take);
  }
  template <class Take>
  void each_element(Node::Kind kind, std::string_view what, Take take) const {
    const bool strings = kind == Node::Kind::string;
    if (!node_.is(Node::Kind::array)) return unexpected(strings ? "an array of strings" : "an array of numbers");
    if (node_.children.empty()) return error(path_, "must not be empty");
    for (std::size_t i = 0; i < node_.children.size(); ++i) {
      const Node& element = node_.children[i];
      const Path at = path_.element(i, element.index);
      problems_.note(at, element.place);
      const auto same = [&](const Node& other) {
        return other.is(kind) && other.text == element.text && other.integer == element.integer;
      };
      if (!element.is(kind)) unexpected(element, at, what);
      else if (std::any_of(node_.children.begin(), node_.children.begin() + static_cast<std::ptrdiff_t>(i), same))
        error(at, (strings ? in_quotes(element.text) : std::to_string(element.integer)) + " stands in this list twice");
      else take(element, at);
    }
  }

  // An address, or a name as it stands. Bounds are those of the port.
  std::optional<Endpoint> endpoint(const Node& node, const Path& path) const {
    const auto fail = [&](const std::string& text) {
      error(path, text);
      return std::nullopt;
    };
    if (node.text.starts_with(unix_prefix)) {
      auto socket = parse_unix(node.text);
      if (!socket) return fail(socket.error());
      return std::move(*socket);
    }
    const auto where = parse_host_port(node.text);
    if (!where) return fail(where.error());
    if (where->port < bounds_.least) return fail("port 0 is no port to connect to");
    auto literal = parse_literal(*where, node.text);
    if (!literal) return fail(literal.error());
    if (*literal) return std::move(*literal);
    Endpoint named{node.text};
    named.host = where->host;
    named.port = where->port;
    return named;
  }

  // Of a name that stands for an address of this machine.
  std::optional<Endpoint> only_address(const Endpoint& named) const {
    const auto found = machine_.resolve({named.host, named.port, false}, named.text);
    if (!found) {
      error(path_, fmt::format("{} has no address now ({}); mend the name or write an address", in_quotes(named.host),
                               found.error()));
      return std::nullopt;
    }
    if (found->size() == 1) return found->front();
    std::string all;
    for (const Endpoint& each : *found) all += (all.empty() ? "" : ", ") + to_text(each);
    error(path_, fmt::format("{} has {} addresses; write one of {}", in_quotes(named.text), found->size(), all));
    return std::nullopt;
  }

  const Bounds& bounds_;
  const Node& node_;
  const Path& path_;
  const Surroundings& machine_;
  Problems& problems_;
};

struct Writer {
  const Bounds& bounds;

  std::optional<Node> operator()(const bool* value) const { return Node::of(*value); }
  std::optional<Node> operator()(const std::uint32_t* value) const { return Node::of(std::uint64_t{*value}); }
  std::optional<Node> operator()(const std::uint64_t* value) const {
    const std::string text = format_byte_size(*value);
    return *value != 0 && *value % 1024 == 0 ? Node::of(text) : Node::of(*value);
  }
  std::optional<Node> operator()(const milliseconds* value) const { return Node::of(format_duration(*value)); }
  std::optional<Node> operator()(const std::string* value) const {
    const bool none = value->empty() && !bounds.shape->wrong("").empty();
    return none ? std::nullopt : std::optional(Node::of(*value));
  }
  std::optional<Node> operator()(const std::optional<std::string>* value) const {
    return *value ? std::optional(Node::of(**value)) : std::nullopt;
  }
  std::optional<Node> operator()(const std::vector<std::string>* value) const {
    if (value->empty()) return std::nullopt;
    return Node::strings({value->begin(), value->end()});
  }
  std::optional<Node> operator()(const Endpoint* value) const { return (*this)(&value->text); }
  std::optional<Node> operator()(const std::vector<Endpoint>* value) const {
    std::vector<std::string_view> texts;
    for (const Endpoint& each : *value) texts.push_back(each.text);
    return texts.empty() ? std::nullopt : std::optional(Node::strings(texts));
  }
  std::optional<Node> operator()(const std::vector<Netmask>* value) const {
    std::vector<std::string_view> texts;
    for (const Netmask& each : *value) texts.push_back(each.text);
    return texts.empty() ? std::nullopt : std::optional(Node::strings(texts));
  }
  std::optional<Node> operator()(const std::vector<std::uint16_t>* value) const {
    Node numbers = Node::array();
    for (const std::uint16_t each : *value) numbers.children.push_back(Node::of(std::uint64_t{each}));
    return numbers;
  }
  template <class Enum>
  requires std::is_enum_v<Enum> std::optional<Node>
  operator()(const std::vector<Enum>* value) const {
    const std::vector<std::string_view> all = words_of(Enum{});
    std::vector<std::string_view> texts;
    for (const Enum each : *value) texts.push_back(all.at(static_cast<std::size_t>(each)));
    return Node::strings(texts);
  }
  template <class Enum>
  requires std::is_enum_v<Enum> std::optional<Node>
  operator()(const Enum* value) const { return Node::of(words_of(Enum{}).at(static_cast<std::size_t>(*value))); }
};

}  // namespace

void read_value(const Setting& setting, void* owner, const Node& node, const Path& path, const Surroundings& machine,
                Problems& problems) {
  std::visit(Reader(setting.bounds, node, path, machine, problems), setting.slot(owner));
}

std::optional<Node> write_value(const Setting& setting, void* owner) {
  return std::visit(Writer{setting.bounds}, setting.slot(owner));
}

}  // namespace config
