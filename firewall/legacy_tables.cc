#include "firewall/legacy_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>

#include "firewall/command.h"

namespace firewall {
namespace {

// Words as iptables-save writes them: in quotes where a space is inside.
std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  bool quoted = false, inside = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"') {
      quoted = !quoted;
      if (!inside) words.emplace_back();
      inside = true;
    } else if (c == ' ' && !quoted) {
      inside = false;
    } else {
      if (!inside) words.emplace_back();
      inside = true;
      words.back() += c == '\\' && quoted && i + 1 < line.size() ? line[++i] : c;
    }
  }
  return words;
}

Node nothing(std::string_view verb) { return Node::object().add(verb, Node()); }

std::uint64_t port_of(std::string_view text) {
  std::uint64_t port = 0;
  std::from_chars(text.data(), text.data() + text.size(), port);
  return port;
}

// "25", "20:30", ":30", "20:", and lists of these.
Node ports_of(std::string_view text) {
  Node set = Node::array();
  while (true) {
    const std::string_view one = text.substr(0, text.find(','));
    const std::size_t colon = one.find(':');
    if (colon == std::string_view::npos) {
      set.children.push_back(Node::of(port_of(one)));
    } else {
      const std::string_view last = one.substr(colon + 1);
      Node range = Node::array();
      range.children.push_back(Node::of(port_of(one.substr(0, colon))));
      range.children.push_back(Node::of(last.empty() ? std::uint64_t{65535} : port_of(last)));
      set.children.push_back(Node::object().add("range", std::move(range)));
    }
    if (one.size() == text.size()) break;
    text.remove_prefix(one.size() + 1);
  }
  return Node::object().add("set", std::move(set));
}

Node match(Node left, bool unequal, Node right) {
  return Node::object().add("match", Node::object()
                                         .add("op", Node::of(unequal ? "!=" : "=="))
                                         .add("left", std::move(left))
                                         .add("right", std::move(right)));
}

Node target(const std::string& name, bool go_to) {
  static const std::map<std::string, std::string, std::less<>> verdicts{{"DROP", "drop"},         {"REJECT", "reject"},
                                                                        {"REDIRECT", "redirect"}, {"DNAT", "dnat"},
                                                                        {"TPROXY", "tproxy"},     {"NFQUEUE", "queue"}};
  if (const auto found = verdicts.find(name); found != verdicts.end()) return nothing(found->second);
  return Node::object().add(go_to ? "goto" : "jump", Node::object().add("target", Node::of(name)));
}

// What a rule asks for and does, from the word behind its chain on; nothing when it is not about TCP.
bool expressions_of(const std::vector<std::string>& words, Node& expressions) {
  bool unequal = false;
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    if (word == "!") {
      unequal = true;
      continue;
    }
    if (word == "-p") {
      if ((value == "tcp" || value == "all") == unequal) return false;
    } else if (word == "--dport" || word == "--dports") {
      Node left = Node::object().add("payload", Node::object().add("field", Node::of("dport")));
      expressions.children.push_back(match(std::move(left), unequal, ports_of(value)));
    } else if (word == "-j" || word == "-g") {
      expressions.children.push_back(target(value, word == "-g"));
      return true;  // the rest are the target's own words
    } else if (word == "-i") {
      Node left = Node::object().add("meta", Node::object().add("key", Node::of("iifname")));
      const bool many = value.ends_with('+');
      expressions.children.push_back(
          match(std::move(left), unequal, Node::of(many ? value.substr(0, value.size() - 1) + "*" : value)));
    } else if (word != "-m" && word != "--comment" && word.starts_with("-")) {
      expressions.children.push_back(match(Node::object(), unequal, Node()));
    }
    unequal = false;
  }
  return true;
}

Node chain_of(const std::vector<std::string>& words, const std::string& table, std::string_view family) {
  static const std::map<std::string, const char*, std::less<>> priorities{
      {"raw", "-300"}, {"mangle", "-150"}, {"nat", "-100"}, {"filter", "0"}};
  std::string name = words[0].substr(1);
  Node chain = Node::object().add("family", Node::of(family)).add("table", Node::of("legacy-" + table));
  chain.add("name", Node::of(name));
  const auto priority = priorities.find(table);
  if (words.size() > 1 && words[1] != "-" && priority != priorities.end()) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    Node number;
    number.kind = Node::Kind::number;
    number.text = priority->second;
    chain.add("hook", Node::of(name)).add("prio", std::move(number));
    chain.add("type", Node::of(table == "nat" ? "nat" : "filter"));
    chain.add("policy", Node::of(words[1] == "DROP" ? "drop" : "accept"));
  }
  return Node::object().add("chain", std::move(chain));
}

}  // namespace

std::vector<Node> legacy_tables(std::string_view text, std::string_view family) {
  std::vector<Node> items;
  std::string table;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::vector<std::string> words = words_of(line);
    if (words.empty()) continue;
    if (words[0].starts_with("*")) table = words[0].substr(1);
    if (words[0].starts_with(":")) items.push_back(chain_of(words, table, family));
    Node expressions = Node::array();
    if (words.size() < 3 || words[0] != "-A" || !expressions_of(words, expressions)) continue;
    Node rule = Node::object().add("family", Node::of(family)).add("table", Node::of("legacy-" + table));
    rule.add("chain", Node::of(words[1])).add("expr", std::move(expressions));
    items.push_back(Node::object().add("rule", std::move(rule)));
  }
  return items;
}

std::vector<Node> read_legacy_tables() {
  struct Family {
    const char *name, *tables, *program;
  };
  constexpr std::array<Family, 2> families{
      {{"ip", "/proc/net/ip_tables_names", "iptables"}, {"ip6", "/proc/net/ip6_tables_names", "ip6tables"}}};
  std::vector<Node> all;
  for (const Family& each : families) {
    std::string name;
    if (std::ifstream file(each.tables); !std::getline(file, name)) continue;  // asking would make tables
    std::string program = fmt::format("{}-legacy-save", each.program);
    if (find_program(program).empty()) program = fmt::format("{}-save", each.program);
    for (Node& item : legacy_tables(output_of({program}), each.name)) all.push_back(std::move(item));
  }
  return all;
}

}  // namespace firewall
