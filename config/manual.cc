#include <fmt/format.h>

#include "config/byte_size.h"
#include "config/document.h"
#include "config/duration.h"
#include "config/load.h"
#include "config/settings.h"
#include "config/value.h"

namespace config {
namespace {

std::string joined(const std::vector<std::string_view>& words) {
  std::string out;
  for (const std::string_view word : words) out += (out.empty() ? "" : " | ") + std::string(word);
  return out;
}

// What to write: the argument behind the key.
struct Argument {
  const Bounds& bounds;

  std::string range(std::string (*spell)(std::uint64_t)) const {
    if (bounds.most == Bounds{}.most) return "";
    return fmt::format(", {} to {}", spell(bounds.least), spell(bounds.most));
  }
  std::string text() const { return bounds.words.empty() ? std::string(bounds.shape->name) : joined(bounds.words); }

  std::string operator()(const bool*) const { return "true | false"; }
  std::string operator()(const std::uint32_t*) const {
    return "a whole number" + range([](std::uint64_t n) { return std::to_string(n); });
  }
  std::string operator()(const std::uint64_t*) const { return "a size" + range(format_byte_size); }
  std::string operator()(const milliseconds*) const {
    return "a duration" + range([](std::uint64_t n) { return format_duration(milliseconds{n}); });
  }
  std::string operator()(const std::string*) const { return text(); }
  std::string operator()(const std::optional<std::string>*) const { return text(); }
  std::string operator()(const std::vector<std::string>*) const { return "a list, each " + text(); }
  std::string operator()(const Endpoint*) const { return "HOST:PORT | unix:PATH"; }
  std::string operator()(const std::vector<Endpoint>*) const { return bounds.literal ? "a list of HOST:PORT" : "a list of HOST:PORT or unix:PATH"; }
  std::string operator()(const std::vector<Netmask>*) const { return "a list of ADDRESS/PREFIX"; }
  std::string operator()(const std::vector<std::uint16_t>*) const { return "a list of ports"; }
  template <class Enum>
  requires std::is_enum_v<Enum> std::string operator()(const std::vector<Enum>*) const {
    return "a list, each " + joined(words_of(Enum{}));
  }
  template <class Enum>
  requires std::is_enum_v<Enum> std::string operator()(const Enum*) const {
    return joined(bounds.words.empty() ? words_of(Enum{}) : bounds.words);
  }
};

std::string default_of(const Setting& setting, void* fresh) {
  if (setting.bounds.required) return "Required.";
  if (!setting.bounds.computed.empty()) return fmt::format("Default: {}.", setting.bounds.computed);
  const auto value = write_value(setting, fresh);
  if (!value) return "";
  std::string text = value->is(Node::Kind::string) ? value->text : format(*value);
  if (text.ends_with('\n')) text.pop_back();
  return fmt::format("Default: {}.", text);
}

void describe(const Section& section, const std::string& prefix, std::string& out) {
  section.with_defaults([&](void* fresh) {
    for (const Setting& setting : section.settings) {
      out += fmt::format(".It Cm {}{} Pq {}\n{}\n", prefix, setting.key,
                         std::visit(Argument{setting.bounds}, setting.slot(fresh)), setting.sentence);
      const std::string value = default_of(setting, fresh);
      if (!value.empty()) out += value + "\n";
    }
  });
  for (const Section& inner : section.sections) {
    const std::string own = prefix + std::string(inner.key);
    out += fmt::format(".It Cm {}\n{}\n", own, inner.sentence);
    if (inner.required) out += "Required.\n";
    const bool named = inner.nesting == Nesting::by_name;
    describe(inner, own + (named ? ".NAME." : inner.nesting == Nesting::list ? "[]." : "."), out);
  }
}

}  // namespace

std::string manual() {
  std::string out;
  describe(root(), "", out);
  return out;
}

}  // namespace config
