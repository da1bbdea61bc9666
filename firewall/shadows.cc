#include "firewall/shadows.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "firewall/legacy_tables.h"

namespace firewall {
namespace {

using config::Backend;
using config::Intercept;
using config::Scope;
using Kind = Node::Kind;

constexpr unsigned deepest = 16;  // jumps inside each other, as many as the kernel takes

// Negative numbers are kept as they are spelled.
int integer_of(const Node* node) {
  if (node == nullptr) return 0;
  if (node->is(Kind::integer)) return static_cast<int>(node->integer);
  int value = 0;
  std::from_chars(node->text.data(), node->text.data() + node->text.size(), value);
  return value;
}

struct Chain {
  const Node* node = nullptr;
  std::vector<const Node*> rules;
};
using Place = std::string;  // "ip nat PREROUTING"

class Ruleset {
 public:
  explicit Ruleset(const Node& all) {
    for (const Node& each : items_at(all, "nftables")) {
      if (const Node* chain = each.find("chain")) chains_[place(*chain, text_at(*chain, "name"))].node = chain;
      if (const Node* rule = each.find("rule")) chains_[place(*rule, text_at(*rule, "chain"))].rules.push_back(rule);
      if (const Node* set = each.find("set")) sets_[place(*set, text_at(*set, "name"))] = set;
    }
  }
  static Place place(const Node& node, const std::string& name) {
    return fmt::format("{} {} {}", text_at(node, "family"), text_at(node, "table"), name);
  }
  const std::map<Place, Chain>& chains() const { return chains_; }
  const Chain* chain(const Place& where) const {
    const auto found = chains_.find(where);
    return found == chains_.end() ? nullptr : &found->second;
  }

  // A number, a range, a list of them, or the name of a set.
  bool may_hold(const Node& value, std::uint16_t port, const Node& rule) const {
    if (value.is(Kind::integer)) return value.integer == port;
    if (const Node* range = value.find("range"))
      return range->children.size() == 2 && range->children[0].integer <= port && port <= range->children[1].integer;
    const std::vector<Node>* elements = nullptr;
    if (const Node* set = value.find("set")) elements = &set->children;
    if (value.is(Kind::string) && value.text.starts_with("@")) {
      const auto named = sets_.find(place(rule, value.text.substr(1)));
      if (named == sets_.end()) return true;
      elements = &items_at(*named->second, "elem");
    }
    if (elements == nullptr) return true;  // whatever it is
    return std::ranges::any_of(*elements, [&](const Node& each) {
      return may_hold(each.is(Kind::array) && !each.children.empty() ? each.children[0] : each, port, rule);
    });
  }

  // The same for the name of an interface, where "eth*" stands for all that begin so.
  bool may_name(const Node& value, const std::string& interface, const Node& rule) const {
    if (value.is(Kind::array)) return may_name(value.children.at(0), interface, rule);
    const std::vector<Node>* elements = nullptr;
    if (const Node* set = value.find("set")) elements = &set->children;
    if (value.is(Kind::string) && value.text.starts_with("@")) {
      const auto named = sets_.find(place(rule, value.text.substr(1)));
      if (named != sets_.end()) elements = &items_at(*named->second, "elem");
    } else if (value.is(Kind::string)) {
      return value.text.ends_with("*") ? interface.starts_with(value.text.substr(0, value.text.size() - 1))
                                       : interface == value.text;
    }
    return elements == nullptr ||
           std::ranges::any_of(*elements, [&](const Node& each) { return may_name(each, interface, rule); });
  }

 private:
  std::map<Place, Chain> chains_;
  std::map<Place, const Node*> sets_;
};

bool is_port(const Node* left) {
  const Node* payload = left == nullptr ? nullptr : left->find("payload");
  return payload != nullptr && text_at(*payload, "field") == "dport";
}

// Where a packet has come in.
bool is_interface(const Node* left) {
  const Node* meta = left == nullptr ? nullptr : left->find("meta");
  return meta != nullptr && (text_at(*meta, "key") == "iifname" || text_at(*meta, "key") == "iif");
}

class Search {
 public:
  Search(const Ruleset& rules, const Diversion& diversion, Backend backend, const std::string& interface)
      : rules_(rules), diversion_(diversion), backend_(backend), interface_(interface) {}

  std::vector<Shadow> run() {
    for (const auto& [where, chain] : rules_.chains()) {
      if (chain.node == nullptr || !concerns(*chain.node) || is_ours(*chain.node)) continue;
      const std::string hook = text_at(*chain.node, "hook"), type = text_at(*chain.node, "type");
      const bool nat = type == "nat";
      if (hook == "input" && !nat) later(where);
      else if (hook == our_hook() && is_before(integer_of(chain.node->find("prio")), nat)) earlier(where, nat);
      else if (hook == "ingress") ingress(where, *chain.node);
    }
    return found_;
  }

 private:
  bool by_nat() const { return diversion_.way == Intercept::redirect; }
  std::string our_hook() const { return diversion_.scope == Scope::output ? "output" : "prerouting"; }
  int our_priority() const {
    if (!by_nat()) return -150;
    return backend_ == Backend::nft ? -110 : -100;
  }
  // Of the same priority, either may be first.
  bool is_before(int priority, bool nat) const { return priority <= our_priority() && (by_nat() || !nat); }
  bool concerns(const Node& chain) const {
    const std::string family = text_at(chain, "family");
    return family == "inet" || family == "netdev" || family == (diversion_.version == Version::v4 ? "ip" : "ip6");
  }
  static bool is_ours(const Node& node) {
    const std::string chain = node.find("chain") != nullptr ? text_at(node, "chain") : text_at(node, "name");
    const std::string table = text_at(node, "family") == "inet" ? text_at(node, "table") : std::string();
    return table == "gatepost" || table == nft_bans_table || chain.starts_with("GATEPOST");
  }

  void earlier(const Place& where, bool nat) {
    port_ = 0;
    walk(where,
         nat ? std::set<std::string>{"redirect", "dnat"} : std::set<std::string>{"drop", "reject", "tproxy", "queue"},
         false, 0);
  }
  // Of one interface, or of several.
  void ingress(const Place& where, const Node& chain) {
    const Node* device = chain.find("dev");
    const auto is_ours = [&](const Node& each) { return each.text == interface_; };
    if (device != nullptr && !interface_.empty()) {
      bound_ = is_ours(*device) || std::ranges::any_of(device->children, is_ours);
      if (!bound_) return;
    }
    earlier(where, false);
    bound_ = false;
  }
  // What comes to the listener after it was diverted.
  void later(const Place& where) {
    port_ = by_nat() ? diversion_.port : 0;
    walk(where, {"drop", "reject", "queue"}, true, 0);
  }
  bool is_wanted(const Node& value, const Node& rule, bool equal = true) const {
    const auto fits = [&](std::uint16_t port) { return rules_.may_hold(value, port, rule) == equal; };
    return port_ != 0 ? fits(port_) : std::ranges::any_of(diversion_.ports, fits);
  }

  void walk(const Place& where, const std::set<std::string>& wanted, bool after, unsigned depth) {
    const Chain* chain = rules_.chain(where);
    if (chain == nullptr || depth > deepest) return;
    for (const Node* rule : chain->rules) {
      if (is_ours(*rule)) return;
      if (is_jump_to_us(*rule)) return;  // what stands behind it is late
      judge(*rule, where, wanted, after, depth);
    }
    if (chain->node != nullptr && text_at(*chain->node, "policy") == "drop" && wanted.contains("drop"))
      add(where, "policy drop", after);
  }
  static bool is_jump_to_us(const Node& rule) {
    return std::ranges::any_of(items_at(rule, "expr"), [](const Node& expression) {
      const Node* jump = expression.find("jump");
      return jump != nullptr && text_at(*jump, "target").starts_with("GATEPOST");
    });
  }

  // Whether a rule may be about the interface; one that asks for it, or for not another, is bound.
  bool passes_interface(const Node& match, const Node& rule) {
    const Node* right = match.find("right");
    if (interface_.empty() || right == nullptr) return true;
    bound_ = true;
    return rules_.may_name(*right, interface_, rule) == (text_at(match, "op") != "!=");
  }
  // The verdicts of a map from interfaces.
  void by_interface(const Node& map, const Node& rule, const Place& where, const std::set<std::string>& wanted,
                    bool after, unsigned depth) {
    const Node* sides = map.find("data");
    if (interface_.empty() || sides == nullptr || !is_interface(map.find("key"))) return;
    for (const Node& side : items_at(*sides, "set")) {
      if (side.children.size() != 2 || !rules_.may_name(side.children[0], interface_, rule)) continue;
      bound_ = true;
      for (const char* verb : {"jump", "goto"})
        if (const Node* jump = side.children[1].find(verb))
          walk(Ruleset::place(rule, text_at(*jump, "target")), wanted, after, depth + 1);
      if (const std::string verdict = verdict_of(side.children[1]); wanted.contains(verdict))
        add(where, verdict, after);
    }
  }

  // What a rule has bound ends with it.
  void judge(const Node& rule, const Place& where, const std::set<std::string>& wanted, bool after, unsigned depth) {
    const bool bound = bound_;
    look_at(rule, where, wanted, after, depth);
    bound_ = bound;
  }
  // One rule: whether it may be about our ports, and what it does then.
  void look_at(const Node& rule, const Place& where, const std::set<std::string>& wanted, bool after, unsigned depth) {
    bool named = false, narrowed = false;
    for (const Node& expression : items_at(rule, "expr")) {
      if (const Node* match = expression.find("match")) {
        if (is_interface(match->find("left")) && !interface_.empty()) {
          if (!passes_interface(*match, rule)) return;
          continue;
        }
        if (!is_port(match->find("left"))) {
          narrowed = narrowed || !is_about_tcp(*match);
          continue;
        }
        named = true;
        const Node* right = match->find("right");
        if (right == nullptr || !is_wanted(*right, rule, text_at(*match, "op") != "!=")) return;
      }
      if (const Node* xt = expression.find("xt"); xt != nullptr && text_at(*xt, "type") == "match")
        (text_at(*xt, "name") == "multiport" ? named : narrowed) = true;
      if (const Node* map = expression.find("vmap")) {
        const Node* sides = map->find("data");
        if (is_port(map->find("key")) && sides != nullptr && is_wanted(*sides, rule)) add(where, "verdict map", after);
        by_interface(*map, rule, where, wanted, after, depth);
      }
      for (const char* verb : {"jump", "goto"})
        if (const Node* jump = expression.find(verb))
          walk(Ruleset::place(rule, text_at(*jump, "target")), wanted, after, depth + 1);
      const std::string verdict = verdict_of(expression);
      // A rule that is about something else than ports is more likely about something else than mail.
      if (wanted.contains(verdict) && (named || !narrowed)) add(where, verdict, after);
    }
  }
  static bool is_about_tcp(const Node& match) {
    const Node *left = match.find("left"), *meta = left == nullptr ? nullptr : left->find("meta");
    return meta != nullptr && text_at(*meta, "key") == "l4proto" && text_at(match, "right") == "tcp";
  }
  static std::string verdict_of(const Node& expression) {
    for (const char* verdict : {"drop", "reject", "redirect", "dnat", "tproxy", "queue"})
      if (expression.find(verdict) != nullptr) return verdict;
    const Node* xt = expression.find("xt");
    if (xt == nullptr || text_at(*xt, "type") != "target") return {};
    std::string name = text_at(*xt, "name");
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name == "nfqueue" ? "queue" : name;
  }

  void add(const Place& where, const std::string& what, bool after) {
    const std::size_t first = where.find(' '), second = where.find(' ', first + 1);
    const Shadow shadow{fmt::format("table {}, chain {}", where.substr(0, second), where.substr(second + 1)), what,
                        after, bound_};
    if (std::ranges::find(found_, shadow) == found_.end()) found_.push_back(shadow);
  }

  const Ruleset& rules_;
  const Diversion& diversion_;
  Backend backend_;
  const std::string& interface_;
  bool bound_ = false;      // as Shadow's
  std::uint16_t port_ = 0;  // 0: those that clients mean
  std::vector<Shadow> found_;
};

}  // namespace

std::vector<Shadow> find_shadows(const Node& ruleset, const Diversion& diversion, Backend backend,
                                 const std::string& interface) {
  const Ruleset rules(ruleset);
  return Search(rules, diversion, backend, interface).run();
}

std::vector<Shadow> read_shadows(const Diversion& diversion, Backend backend, const std::string& interface) {
  const auto told = parse_json(output_of({"nft", "-j", "list", "ruleset"}), "nft");
  Node all = Node::array();
  if (told) all.children = items_at(*told, "nftables");
  for (Node& each : read_legacy_tables()) all.children.push_back(std::move(each));
  return find_shadows(Node::object().add("nftables", std::move(all)), diversion, backend, interface);
}

}  // namespace firewall
