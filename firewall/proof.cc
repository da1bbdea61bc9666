// verify.h's prove(): a connection from where connections come from, and the evidence that it came to the listener.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include "config/endpoint.h"
#include "config/netmask.h"
#include "firewall/counters.h"
#include "firewall/original_destination.h"
#include "firewall/sockets_table.h"
#include "firewall/test_network.h"
#include "firewall/transparent_socket.h"
#include "firewall/verify.h"

namespace firewall {
namespace {

using config::Direction;
using config::Intercept;
using config::Scope;
using std::chrono::milliseconds;

bool listed(const std::vector<std::string>& networks, const std::string& address) {
  const auto one = config::parse_netmask(address);
  if (!one) return false;
  return std::ranges::any_of(networks, [&](const std::string& text) {
    const auto network = config::parse_netmask(text);
    return network && one->prefix >= network->prefix && overlap(*one, *network);
  });
}

// The first addresses of the network behind its own.
std::vector<std::string> some_of(const std::string& text, Version version) {
  auto network = config::parse_netmask(text)->network;
  std::vector<std::string> found;
  const bool single = text.find('/') == std::string::npos;
  for (int i = 0; i < (single ? 1 : 32); ++i) {
    if (!single) ++network[15];
    std::array<char, INET6_ADDRSTRLEN> space{};
    ::inet_ntop(version == Version::v4 ? AF_INET : AF_INET6, network.data() + (version == Version::v4 ? 12 : 0),
                space.data(), space.size());
    if (std::string address = space.data(); listed({text}, address)) found.push_back(std::move(address));
  }
  return found;
}

constexpr std::string_view reset_by_gate = "the gate has reset it";

class Prover {
 public:
  Prover(const Subject& subject, const std::string& by)
      : diversion_(subject.diversion),
        rules_(subject.rules),
        in_force_(subject.in_force),
        facts_(subject.facts),
        network_(subject.network),
        connections_(subject.connections),
        proven_(subject.proven),
        by_(by) {}

  Proof run() {
    if (!read_counters(in_force_).contains(diversion_.label())) return proof(Result::failed, "the rule is not there");
    const std::string target = choose_target();
    if (target.empty()) return proof(Result::inspected, "there is no address that a connection could be tried with");
    const std::string source = from_here() ? network_.here(diversion_.version) : network_.address(diversion_.version);
    if (listed(diversion_.skip_sources, source))
      return proof(Result::inspected, fmt::format("skip_sources hold {}, which connections are tried from", source));
    if (from_here() && !diversion_.interfaces.empty() && !leaves_by_ours(target))
      return proof(Result::inspected,
                   fmt::format("connections to {} leave by an interface that is not listed", target));
    return every_port(target);
  }

 private:
  bool from_here() const { return diversion_.scope == Scope::output; }
  Proof proof(Result result, std::string sentence) const {
    return {diversion_.listener, diversion_.scope, diversion_.version, result, std::move(sentence)};
  }
  bool fits(const std::string& address) const {
    return (diversion_.protected_networks.empty() || listed(diversion_.protected_networks, address)) &&
           !listed(diversion_.skip_destinations, address);
  }

  std::string choose_target() const {
    std::vector<std::string> candidates;
    const bool over_lo = from_here() && std::ranges::find(diversion_.interfaces, "lo") != diversion_.interfaces.end();
    if (diversion_.scope == Scope::input || over_lo) {
      for (const bool own : {true, false})
        for (const Interface& each : facts_.interfaces)
          if ((each.name == by_) == own && (!each.loopback || over_lo))
            for (const std::string& address : each.addresses)
              if ((address.find(':') != std::string::npos) == (diversion_.version == Version::v6))
                candidates.push_back(address);
    } else if (!diversion_.protected_networks.empty()) {
      for (const std::string& network : diversion_.protected_networks)
        for (std::string& address : some_of(network, diversion_.version))
          if (!facts_.is_local(address)) candidates.push_back(std::move(address));
    } else if (from_here()) {  // by the one interface that surely is among those of the rule
      candidates.push_back(network_.address(diversion_.version));
    } else {
      for (const char* each : {"198.51.100.25", "203.0.113.25", "2001:db8::25", "2001:db8:ffff::25"})
        if ((std::strchr(each, ':') != nullptr) == (diversion_.version == Version::v6)) candidates.emplace_back(each);
    }
    const auto found = std::ranges::find_if(candidates, [&](const std::string& each) { return fits(each); });
    return found == candidates.end() ? "" : *found;
  }

  // Whether connections of this host to it leave by an interface of the rule.
  bool leaves_by_ours(const std::string& target) const {
    const std::string route = output_of({"ip", "-o", "route", "get", target});
    return std::ranges::any_of(diversion_.interfaces, [&](const std::string& name) {
      return route.find(" dev " + name + " ") != std::string::npos;
    });
  }

  // The first of the failed ports, or of all, speaks for those with the same result.
  Proof every_port(const std::string& target) {
    Descriptor own;
    if (!somebody_listens()) {
      own = listen();
      if (!own)
        return proof(Result::failed, fmt::format("nobody listens on {}, nor could verify", diversion_.target()));
    }
    struct Ports {
      std::string sentence, first, more;
      std::string all() const { return first + (more.empty() ? "" : ", ") + more; }
    } good, bad;
    for (const std::uint16_t port : diversion_.ports) {
      Proof one = attempt(target, port, own);
      if (one.over_limit && bad.first.empty()) return beyond_limit(std::move(one), good.all());
      Ports& all = one.result == Result::proven ? good : bad;
      (all.first.empty() ? all.first : all.more) += fmt::format("{}{}", all.more.empty() ? "" : ", ", port);
      if (all.sentence.empty()) all.sentence = std::move(one.sentence);
    }
    const Ports& told = bad.sentence.empty() ? good : bad;
    std::string sentence = told.sentence;
    if (!told.more.empty()) sentence += "; the same on port " + told.more;
    if (&told == &bad && !good.first.empty())
      sentence += "; proven on port " + good.all();
    return proof(&told == &bad ? Result::failed : Result::proven, std::move(sentence));
  }

  // Of some that it has taken before, the gate's rule is that they are too many; else there may be another reason.
  Proof beyond_limit(Proof one, const std::string& good) const {
    const bool taken = proven_ || !good.empty();
    one.result = taken ? Result::inspected : Result::failed;
    one.sentence += fmt::format(", as it does beyond max_client_connections ({} in a minute): ", connections_);
    one.sentence += taken ? "not tried further" : "try again after a minute";
    if (!good.empty()) one.sentence += "; proven on port " + good;
    return one;
  }

  Proof attempt(const std::string& target, std::uint16_t port, const Descriptor& own) {
    const std::uint64_t before = counted();
    const std::vector<TcpSocket> earlier = read_sockets(diversion_.version);
    const Attempt made = connect(target, port);
    const std::string tried = fmt::format("{} port {} from {}", target, port, made.source);
    const bool diverted = counted() > before;
    if (!diverted) {
      Proof missed = proof(Result::failed, fmt::format("{}: {}", tried, why_not(made)));
      missed.over_limit = connections_ != 0 && missed.sentence.ends_with(reset_by_gate);
      return missed;
    }
    if (made.reached != Reached::connected)
      return proof(Result::failed,
                   fmt::format("{}: the rule has diverted it, but {}", tried,
                               made.reached == Reached::refused ? "it was refused" : "nobody answered"));
    Proof made_out = own ? accepted_by_us(own, made, target, tried) : accepted_by_others(made, earlier, tried);
    hang_up(made);
    return made_out;
  }

  // A connection that never met the rule. With a gate, the gate's decision comes first.
  std::string_view why_not(const Attempt& made) const {
    if (rules_.queue == 0) return "the connection never met the rule";
    const bool answers = gate_answers(rules_, diversion_);
    if (!answers && rules_.open)
      return "it went round gatepost: nobody has decided about it, and the gate is to fail open";
    if (!answers) return "it got no answer: nobody has decided about it, and the gate is to fail closed";
    return made.reached == Reached::refused ? reset_by_gate : "the gate has let it pass by";
  }

  std::uint64_t counted() const {
    const Counters counters = read_counters(in_force_);
    const auto found = counters.find(diversion_.label());
    return found == counters.end() ? 0 : found->second;
  }

  Attempt connect(const std::string& target, std::uint16_t port) const {
    if (!from_here()) return network_.connect(diversion_.version, target, port);
    const int family = diversion_.version == Version::v4 ? AF_INET : AF_INET6;
    return connect_from(Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)), diversion_.version, target, port);
  }

  bool somebody_listens() const {
    const std::string address = !diversion_.address.empty()         ? diversion_.address
                                : diversion_.version == Version::v4 ? "0.0.0.0"
                                                                    : "::";
    return std::ranges::any_of(read_sockets(diversion_.version), [&](const TcpSocket& each) {
      return each.listening && each.local_port == diversion_.port && each.local == address;
    });
  }

  Descriptor listen() const {
    const int family = diversion_.version == Version::v4 ? AF_INET : AF_INET6, on = 1;
    Descriptor socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (diversion_.way == Intercept::tproxy && !make_transparent(socket.get(), family)) return {};
    const std::string any = diversion_.version == Version::v4 ? "0.0.0.0" : "[::]";
    const auto where =
        config::parse_address(diversion_.address.empty() ? any + diversion_.target() : diversion_.target());
    if (!where || ::bind(socket.get(), where->get(), where->length) != 0 || ::listen(socket.get(), 16) != 0) return {};
    return socket;
  }

  // Others may come meanwhile: they are sent away.
  static Descriptor accept_from(const Descriptor& own, const Attempt& made) {
    pollfd waiting{own.get(), POLLIN, 0};
    while (::poll(&waiting, 1, 1000) == 1) {
      sockaddr_storage peer{};
      socklen_t length = sizeof peer;
      Descriptor connection(::accept4(own.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC));
      const auto source = config::parse_netmask(made.source);
      if (connection && source && config::octets_of(reinterpret_cast<const sockaddr*>(&peer)) == source->network)
        return connection;
    }
    return {};
  }

  Proof accepted_by_us(const Descriptor& own, const Attempt& made, const std::string& target,
                       const std::string& tried) const {
    const Descriptor connection = accept_from(own, made);
    const auto meant = connection ? original_destination(connection.get(), diversion_.way) : std::unexpected(ENOENT);
    if (!meant) return proof(Result::failed, tried + ": it was answered, but not by the listener");
    const auto wanted = config::parse_netmask(target);
    if (config::octets_of(reinterpret_cast<const sockaddr*>(&*meant)) != wanted->network)
      return proof(Result::failed, tried + ": its original destination is lost");
    return proof(Result::proven, tried + ", to a listener of verify's own: nobody else listens there");
  }

  // Accepted by the proxy's account, on the listener's port or (TPROXY) on the address that was meant.
  Proof accepted_by_others(const Attempt& made, const std::vector<TcpSocket>& earlier, const std::string& tried) {
    std::optional<TcpSocket> other;
    for (int tries = 0; tries < 50; ++tries) {
      other = other_end(made, earlier);
      if (other && (other->accepted || was_answered(made))) break;
      std::this_thread::sleep_for(milliseconds(20));  // nobody announces it
    }
    if (!other) return proof(Result::failed, tried + ": it was answered, but not by the listener");
    // A connection that was closed already belongs to nobody any more.
    if (!other->accepted && !was_answered(made))
      return proof(Result::failed, tried + ": it came to the listener, but nobody accepts it");
    if (other->accepted && other->uid != rules_.proxy_uid)
      return proof(Result::failed, fmt::format("{}: accepted by a process of uid {}, and the proxy has {}", tried,
                                               other->uid, rules_.proxy_uid));
    return proof(Result::proven, tried + greeting_of(made));
  }

  // Where two redirected connections would be one to the kernel, it changes the source port of the later one.
  std::optional<TcpSocket> other_end(const Attempt& made, const std::vector<TcpSocket>& earlier) const {
    std::optional<TcpSocket> changed;
    const auto is_new = [&](const TcpSocket& one) {
      return std::ranges::none_of(earlier, [&](const TcpSocket& each) {
        return each.remote == one.remote && each.remote_port == one.remote_port && each.local_port == one.local_port;
      });
    };
    for (const TcpSocket& each : read_sockets(diversion_.version)) {
      if (each.listening || each.remote != made.source) continue;
      if (diversion_.way == Intercept::redirect && each.local_port != diversion_.port) continue;
      if (each.remote_port == made.source_port) return each;
      if (diversion_.way == Intercept::redirect && is_new(each)) changed = each;
    }
    return changed;
  }

  // Somebody has said something, or closed it.
  static bool was_answered(const Attempt& made) {
    char first = 0;
    return ::recv(made.socket.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
  }

  // What the listener says at once, if it does.
  static std::string greeting_of(const Attempt& made) {
    pollfd waiting{made.socket.get(), POLLIN, 0};
    std::array<char, 128> said{};
    if (::poll(&waiting, 1, 1000) != 1) return {};
    const ssize_t n = ::recv(made.socket.get(), said.data(), said.size(), 0);
    if (n <= 0) return {};
    const std::string_view line(said.data(), static_cast<std::size_t>(n));
    return fmt::format(": {}", line.substr(0, line.find_first_of("\r\n")));
  }

  const Diversion& diversion_;
  const Rules& rules_;
  const Plan& in_force_;
  const Facts& facts_;
  const TestNetwork& network_;
  const std::uint32_t connections_;
  const bool proven_;
  const std::string& by_;
};

}  // namespace

Proof prove(const Subject& subject, const std::string& by) { return Prover(subject, by).run(); }

}  // namespace firewall
