#include "firewall/ban_lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <sstream>

#include "firewall/json.h"

namespace firewall {
namespace {

constexpr std::size_t longest_comment = 100;  // nft takes 128 octets

// "192.0.2.1" or {"prefix": {"addr": "192.0.2.0", "len": 24}}
std::string network_in(const Node& value) {
  if (value.is(Node::Kind::string)) return value.text;
  const Node* prefix = value.find("prefix");
  return prefix == nullptr ? std::string() : fmt::format("{}/{}", text_at(*prefix, "addr"), number_at(*prefix, "len"));
}

// Of one set; null: there is none.
const Node* set_in(const Node& document) {
  for (const Node& each : items_at(document, "nftables"))
    if (const Node* set = each.find("set")) return set;
  return nullptr;
}

// With more to say than its value an element is an object of its own.
const Node& value_of(const Node& element) {
  const Node* wrapped = element.find("elem");
  const Node* value = wrapped == nullptr ? nullptr : wrapped->find("val");
  return value == nullptr ? element : *value;
}

std::optional<Ban> ban_of(const Node& element) {
  Ban ban{network_in(value_of(element))};
  if (!config::parse_netmask(ban.network)) return std::nullopt;
  if (const Node* more = element.find("elem")) {
    if (more->find("timeout") != nullptr)  // in its last second 0 is left, which would mean until it is removed
      ban.left = std::chrono::seconds(std::max<std::uint64_t>(number_at(*more, "expires"), 1));
    ban.reason = text_at(*more, "comment");
  }
  return ban;
}

template <class Take>
void each_element(const std::string& json, Take take) {
  const auto document = parse_json(json, "nft");
  const Node* set = document ? set_in(*document) : nullptr;
  if (set == nullptr) return;
  for (const Node& each : items_at(*set, "elem")) take(each);
}

}  // namespace

AddressRange range_of(const config::Netmask& network) {
  AddressRange range{network.network, network.network};
  for (unsigned bit = network.prefix; bit < 128; ++bit)
    range.last[bit / 8] = static_cast<std::uint8_t>(range.last[bit / 8] | (0x80U >> (bit % 8)));
  return range;
}

bool touch(const AddressRange& one, const AddressRange& other) {
  return one.first <= other.last && other.first <= one.last;
}

bool ends_sooner(std::chrono::seconds one, std::chrono::seconds other) {
  return one.count() != 0 && (other.count() == 0 || one < other);
}

Place place_of_offence(const config::Netmask& network, const config::Netmask& client, std::chrono::seconds time,
                       const std::vector<Ban>& banned, bool nested) {
  bool in_the_way = false;
  for (const Ban& each : banned) {
    const auto other = config::parse_netmask(each.network);
    if (!other || !overlap(*other, network)) continue;
    if (other->prefix > network.prefix) {
      in_the_way |= !nested && ends_sooner(time, each.left);
    } else if (!ends_sooner(each.left, time) || (!nested && other->prefix < network.prefix)) {
      return {.before = each};
    }
  }
  if (in_the_way) return place_of_offence(client, client, time, banned, nested);
  return {.network = network};
}

std::vector<Ban> bans_in(const std::string& text, const std::string& set) {
  std::vector<Ban> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view comment = " comment \"";
    const std::size_t at = line.find(comment);
    Ban ban;
    if (at != std::string::npos) {
      ban.reason = line.substr(at + comment.size());
      if (ban.reason.ends_with('"')) ban.reason.pop_back();
      line.resize(at);
    }
    std::istringstream words(line);
    std::string verb, name, word;
    if (!(words >> verb >> name >> ban.network) || verb != "add" || name != set) continue;
    std::int64_t seconds = 0;
    while (words >> word)
      if (word == "timeout" && words >> seconds) ban.left = std::chrono::seconds(seconds);
    all.push_back(std::move(ban));
  }
  return all;
}

std::vector<Ban> bans_in_nft(const std::string& json) {
  std::vector<Ban> all;
  each_element(json, [&all](const Node& element) {
    if (auto ban = ban_of(element)) all.push_back(std::move(*ban));
  });
  return all;
}

std::vector<AddressRange> ranges_in_nft(const std::string& json) {
  std::vector<AddressRange> all;
  each_element(json, [&all](const Node& element) {
    const Node& value = value_of(element);
    if (const auto network = config::parse_netmask(network_in(value))) return all.push_back(range_of(*network));
    const std::vector<Node>& ends = items_at(value, "range");
    if (ends.size() != 2) return;
    const auto first = config::parse_netmask(ends[0].text), last = config::parse_netmask(ends[1].text);
    if (first && last) all.push_back({first->network, last->network});
  });
  return all;
}

std::string as_comment(std::string text) {
  text.resize(std::min(text.size(), longest_comment));
  for (char& c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!plain && std::string_view(" .,:_-/").find(c) == std::string_view::npos) c = '_';
  }
  return text;
}

}  // namespace firewall
