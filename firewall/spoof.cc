// verify.h's trial of a spoofed source: a server elsewhere answers an address that is not ours only through us.
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "config/endpoint.h"
#include "firewall/test_network.h"
#include "firewall/transparent_socket.h"
#include "firewall/verify.h"

namespace firewall {
namespace {

std::string address_of(const config::Endpoint& endpoint) {
  const std::string text = config::to_text(endpoint);
  std::string address = text.substr(0, text.rfind(':'));
  std::erase_if(address, [](char c) { return c == '[' || c == ']'; });
  return address;
}

bool is_here(const config::Endpoint& endpoint, const Facts& facts) {
  return config::is_loopback(endpoint) || facts.is_local(address_of(endpoint));
}

// From the address, or from whichever is ours for that; past the rules of ours for what this host sends.
std::expected<bool, Fault> answers(const Spoof& spoof, bool foreign) {
  const auto made = transparent_socket(spoof.to.address.ss_family);
  if (!made)
    return std::unexpected(
        Fault{fmt::format("no socket with a foreign address: {}", std::strerror(made.error())), "be root"});
  Descriptor socket(*made);
  if (foreign && ::bind(socket.get(), spoof.from.get(), spoof.from.length) != 0)
    return std::unexpected(
        Fault{fmt::format("{} cannot be our address: {}", address_of(spoof.from), std::strerror(errno)),
              "name an address of a client"});
  const Attempt attempt =
      connect_from(std::move(socket), spoof.version(), address_of(spoof.to), config::port_of(spoof.to));
  // A refusal is an answer that came back.
  return attempt.reached == Reached::connected || attempt.reached == Reached::refused;
}

}  // namespace

Version Spoof::version() const { return to.address.ss_family == AF_INET6 ? Version::v6 : Version::v4; }
std::string Spoof::source() const { return address_of(from); }
std::string Spoof::server() const { return config::to_text(to); }

std::optional<Spoof> spoof_of(const std::string& from, const std::string& to) {
  const bool six = from.find(':') != std::string::npos;
  const auto source = config::parse_address(six ? fmt::format("[{}]:0", from) : from + ":0");
  const auto server = config::parse_address(to);
  if (!source || !server || server->is_unix() || source->address.ss_family != server->address.ss_family ||
      config::port_of(*server) == 0 || config::is_wildcard(*source) || config::is_wildcard(*server))
    return std::nullopt;
  return Spoof{*source, *server};
}

std::optional<Fault> try_spoof(const Spoof& spoof, const Facts& facts) {
  const std::string from = spoof.source(), to = spoof.server();
  if (is_here(spoof.from, facts))
    return Fault{fmt::format("{} is an address of this host: what is sent to it comes back without being spoofed", from),
                 "name an address of a client"};
  if (is_here(spoof.to, facts))
    return Fault{fmt::format("{} is this host itself: what it answers need not come back", to),
                 "name a server elsewhere"};
  const auto spoofed = answers(spoof, true);
  if (!spoofed) return spoofed.error();
  if (*spoofed) return std::nullopt;
  const auto plain = answers(spoof, false);
  if (!plain) return plain.error();
  if (!*plain)
    return Fault{fmt::format("{} does not answer this host either, so nothing is proven", to),
                 "name a server that runs"};
  return Fault{
      fmt::format("{} does not answer connections from {}: its replies do not come back through this host", to, from),
      "make this host the server's way to its clients (its default gateway), or do not spoof"};
}

}  // namespace firewall
