#include "config/build.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/check.h"
#include "config/document.h"
#include "config/merge.h"
#include "config/nearest.h"
#include "config/problems.h"
#include "config/quote.h"
#include "config/settings.h"
#include "config/value.h"

namespace config {
namespace {

// "/limits" for "scan_wait": all objects that take a key that was written in the wrong one.
void find_homes(std::string_view name, const Section& section, const std::string& pointer, std::string& homes) {
  const auto is_named = [&](const auto& row) { return row.key == name; };
  if (std::ranges::any_of(section.settings, is_named) || std::ranges::any_of(section.sections, is_named))
    homes += (homes.empty() ? "" : " or ") + (pointer.empty() ? "the outermost object" : pointer);
  for (const Section& inner : section.sections) {
    const std::string_view entry = inner.nesting == Nesting::object ? ""
                                   : inner.nesting == Nesting::list ? "/N"
                                                                    : "/NAME";
    find_homes(name, inner, pointer + "/" + std::string(inner.key) + std::string(entry), homes);
  }
}

// "a, b and c"; "none".
std::string in_words(const std::vector<std::string_view>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i)
    out += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + std::string(names[i]);
  return out.empty() ? "none" : out;
}

// Walks a section of the table and the document side by side.
class Walk {
 public:
  Walk(const Surroundings& machine, Problems& problems) : machine_(machine), problems_(problems) {}

  // One struct of the section; `node` is its object.
  void fill(const Section& section, void* owner, const Node& node, const Path& path) {
    problems_.note(path, node.place);
    if (!node.is(Node::Kind::object))
      return problems_.error(path.merged, fmt::format("expects an object, not {}", kind_text(node)));
    for (const Node& member : node.children) fill_member(section, owner, member, path);
    for (const Setting& setting : section.settings)
      if (setting.bounds.required && node.find(setting.key) == nullptr)
        problems_.error(path.member(setting.key).merged, fmt::format("missing: {}", setting.sentence));
    for (const Section& inner : section.sections)
      if (inner.required && node.find(inner.key) == nullptr)
        problems_.error(path.member(inner.key).merged, fmt::format("missing: {}", inner.sentence));
    count_choices(section, node, path);
  }

 private:
  void count_choices(const Section& section, const Node& node, const Path& path) {
    std::vector<std::string_view> given;
    for (const std::string_view key : section.exactly_one_of)
      if (node.find(key) != nullptr) given.push_back(key);
    if (given.size() == 1 || section.exactly_one_of.empty()) return;
    problems_.error(path.merged, fmt::format("has {}; of {} it must have exactly one", in_words(given),
                                             in_words(section.exactly_one_of)));
  }

  void fill_member(const Section& section, void* owner, const Node& member, const Path& path) {
    const Path at = path.member(member.key);
    for (const Setting& setting : section.settings) {
      if (setting.key != member.key) continue;
      problems_.note(at, member.place);
      return read_value(setting, owner, member, at, machine_, problems_);
    }
    for (const Section& inner : section.sections)
      if (inner.key == member.key) return open(inner, owner, member, at);
    unknown(section, member, at);
  }

  void open(const Section& section, void* parent, const Node& node, const Path& path) {
    if (section.nesting == Nesting::object) return fill(section, section.open(parent, ""), node, path);
    problems_.note(path, node.place);
    const bool list = section.nesting == Nesting::list;
    if (!node.is(list ? Node::Kind::array : Node::Kind::object))
      return problems_.error(path.merged,
                             fmt::format("expects an {}, not {}", list ? "array" : "object", kind_text(node)));
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      const Node& child = node.children[i];
      const Path at = list ? path.element(i, child.index) : path.member(child.key);
      if (const std::string wrong = list ? "" : entry_name.wrong(child.key); !wrong.empty())
        problems_.error(child.key_place, at.own, in_quotes(child.key) + " " + wrong);
      if (section.most_entries != 0 && i >= section.most_entries)
        problems_.error(child.key_place, at.own,
                        fmt::format("one too many: this version takes no more than {} here", section.most_entries));
      fill(section, section.open(parent, child.key), child, at);
    }
  }

  void unknown(const Section& section, const Node& member, const Path& at) {
    std::vector<std::string_view> known;
    for (const Setting& setting : section.settings) known.push_back(setting.key);
    for (const Section& inner : section.sections) known.push_back(inner.key);
    std::string hint = did_you_mean(member.key, known);
    std::string homes;
    find_homes(member.key, root(), "", homes);
    if (!homes.empty()) hint = "; it belongs into " + homes;
    if (member.key == "override") hint = "; it is true or false, and only in files of conf.d";
    problems_.error(member.key_place, at.own, fmt::format("unknown key {}{}", in_quotes(member.key), hint));
  }

  const Surroundings& machine_;
  Problems& problems_;
};

std::optional<Node> parse_all(const std::vector<Source>& sources, Problems& problems) {
  std::optional<Node> merged;
  bool complete = true;
  for (std::uint32_t i = 0; i < sources.size(); ++i) {
    std::optional<Node> node = parse(sources[i].text, i, problems);
    if (!node) {
      complete = false;
    } else if (!node->is(Node::Kind::object)) {
      problems.error(node->place, "", fmt::format("expects an object, not {}", kind_text(*node)));
      complete = false;
    } else if (!merged) {
      merged = std::move(node);
    } else {
      merge(*merged, std::move(*node), problems);
    }
  }
  // Keys of a file that cannot be read would be missed everywhere: the others wait until it can.
  return complete ? std::move(merged) : std::nullopt;
}

}  // namespace

std::expected<Loaded, std::vector<Error>> build(const std::vector<Source>& sources, const Surroundings& machine) {
  std::vector<std::string> names;
  for (const Source& source : sources) names.push_back(source.name);
  Problems problems(std::move(names));
  auto config = std::make_shared<Config>();
  if (const std::optional<Node> document = parse_all(sources, problems)) {
    Walk(machine, problems).fill(root(), config.get(), *document, {});
    complete(*config, machine, problems);
    check(*config, machine, problems);
  }
  if (problems.any()) return std::unexpected(problems.errors());
  return Loaded{std::move(config), problems.warnings()};
}

}  // namespace config
