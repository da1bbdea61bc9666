#include "proxy/supervisor/ban_request.h"

#include <algorithm>

namespace supervisor {
namespace {

constexpr unsigned mapped_bits = 96;  // in front of an IPv4 address that is mapped into IPv6
constexpr std::string_view told_word = " told";

}  // namespace

Message message_of(const BanRequest& request) {
  Message message;
  message.kind = Message::Kind::offence;
  message.index = request.listener;
  message.text = std::string(config::to_string(request.what)) + ' ' + to_text(unmapped(request.client));
  if (request.told) message.text += told_word;
  return message;
}

std::optional<BanRequest> ban_request_in(const Message& message, const config::Config& config) {
  if (message.kind != Message::Kind::offence || message.index >= config.listeners.size()) return std::nullopt;
  BanRequest request;
  request.listener = message.index;
  std::string_view text = message.text;
  const std::size_t space = text.find(' ');
  const auto what = config::offence_named(text.substr(0, space));
  if (!what || space == std::string_view::npos) return std::nullopt;
  request.what = *what;
  text.remove_prefix(space + 1);
  request.told = text.ends_with(told_word);
  if (request.told) text.remove_suffix(told_word.size());
  const auto client = protocol::parse_ip(text);
  if (!client || config.listeners[message.index].bans.rule_for(*what).time.count() == 0) return std::nullopt;
  request.client = unmapped(*client);
  return request;
}

config::Netmask client_network(const config::Listener& listener, const protocol::IpAddress& client) {
  const protocol::IpAddress plain = unmapped(client);
  const bool four = plain.family == protocol::IpAddress::Family::ipv4;
  unsigned prefix = four ? mapped_bits + listener.client_prefix_v4 : listener.client_prefix_v6;
  if (listener.direction == config::Direction::outgoing) prefix = 128;
  return config::network_around(mapped(plain).octets, prefix);
}

}  // namespace supervisor
