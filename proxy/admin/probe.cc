#include "proxy/admin/probe.h"

#include <fmt/format.h>

#include <sys/socket.h>

#include <algorithm>

#include "config/endpoint.h"
#include "firewall/descriptor.h"
#include "firewall/marks.h"
#include "proxy/admin/escape.h"
#include "proxy/io/address_cache.h"
#include "proxy/io/hosts_file.h"
#include "proxy/io/source_address.h"
#include "proxy/io/tls_contexts.h"
#include "proxy/session/identity.h"
#include "proxy/session/offer.h"

namespace admin {
namespace {

using io::Task;
using session::Channel;

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string printable(std::string_view raw) {
  std::string out;
  append_text(out, raw, 512);
  return out;
}

// The listener whose clients may do the most harm.
const config::Listener* listener_of(const config::Config& config, const std::string& downstream) {
  const config::Listener* found = nullptr;
  for (const config::Listener& each : config.listeners)
    if (each.downstream == downstream && (found == nullptr || session::is_exempt(*found))) found = &each;
  return found;
}

// Whether a connection of ours can carry the mark by which rules for the scope output leave it alone.
bool may_mark() {
  const firewall::Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket && ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &firewall::mark_own, sizeof firewall::mark_own) == 0;
}

// Whether such rules may take connections of this host to that server.
bool may_be_intercepted(const config::Config& config, const config::Endpoint& server) {
  return std::ranges::any_of(config.listeners, [&](const config::Listener& each) {
    return each.intercept != config::Intercept::none && !server.is_unix() &&
           std::ranges::find(each.scopes, config::Scope::output) != each.scopes.end() &&
           std::ranges::find(each.ports, config::port_of(server)) != each.ports.end();
  });
}

class Survey {
 public:
  explicit Survey(std::shared_ptr<const config::Config> config)
      : config_(std::move(config)),
        resolver_(loop_, config_->dns, hosts_of(config_->dns), [](const std::string&) {}),
        names_(loop_, resolver_, [](const std::string&) {}),
        connector_(loop_, &names_) {
    connector_.mark_connections(firewall::mark_own);
    services_.config = config_;
    services_.connector = &connector_;
    services_.log = [](admin::Level, admin::Record&&) {};
    services_.new_trace_id = [] { return std::string("probe"); };
    std::vector<io::TlsProblem> problems;
    services_.tls = io::TlsContexts::make(*config_, io::TlsFiles::read(*config_, problems), problems);
  }
  ~Survey() { loop_.destroy_roots(); }

  Probed run() {
    loop_.spawn(survey());
    loop_.run();
    probed_.json = "[" + probed_.json + "]";
    return std::move(probed_);
  }

 private:
  static std::shared_ptr<const io::HostsFile> hosts_of(const config::Dns& dns) {
    if (dns.hosts.empty()) return nullptr;
    auto hosts = io::HostsFile::read(dns.hosts);
    return hosts ? std::make_shared<const io::HostsFile>(std::move(*hosts)) : nullptr;
  }

  Task<> survey() {
    io::Scope scope(loop_);
    for (const auto& [name, downstream] : config_->downstreams) {
      const config::Listener* const listener = listener_of(*config_, name);
      if (listener == nullptr) continue;
      const std::vector<config::Endpoint> servers =
          downstream.original ? protected_servers(*listener) : downstream.servers;
      if (downstream.original && servers.empty()) tell_of_strangers(downstream);
      for (const config::Endpoint& server : servers) co_await all_addresses(downstream, *listener, server, scope);
    }
    loop_.quit();
  }

  // Original destinations that are known beforehand: single hosts that are protected.
  static std::vector<config::Endpoint> protected_servers(const config::Listener& listener) {
    std::vector<config::Endpoint> servers;
    const bool incoming = listener.direction == config::Direction::incoming;
    for (const config::Netmask& each : listener.protected_networks) {
      const std::string host = each.text.substr(0, each.text.find('/'));
      const bool six = host.find(':') != std::string::npos;
      for (const std::uint16_t port : listener.ports) {
        const auto server = config::parse_address(fmt::format("{}{}{}:{}", six ? "[" : "", host, six ? "]" : "", port));
        if (incoming && each.prefix == 128 && server) servers.push_back(*server);
      }
    }
    return servers;
  }

  void tell_of_strangers(const config::Downstream& downstream) {
    probed_.text += fmt::format("downstream {}: the original destinations of its clients; nobody is asked beforehand\n",
                                downstream.name);
    add_json(fmt::format(R"({{"downstream":{},"original":true}})", json_string(downstream.name)));
  }

  Task<> all_addresses(const config::Downstream& downstream, const config::Listener& listener,
                       const config::Endpoint& server, io::Scope& scope) {
    std::vector<config::Endpoint> addresses(1, server);
    if (server.is_name()) {
      const auto found = co_await names_.addresses(server, scope, io::never);
      if (!found) co_return unreached(downstream, server.text, found.error());
      addresses = *found;
    }
    for (const config::Endpoint& address : addresses) {
      const std::string host = server.is_name() ? server.host : server.text.substr(0, server.text.rfind(':'));
      if (!marked_ && may_be_intercepted(*config_, address)) tell_of_interception(downstream, address);
      const session::Server which(downstream, listener, address, host);
      co_await one(which, scope);
    }
  }

  Task<> one(session::Server server, io::Scope& scope) {
    const Channel wanted = session::configured_channel(*server.settings, *server.listener, nullptr);
    if (wanted == Channel::spoof) co_return tell_of_spoof(server);
    const bool asks =
        server.settings->protocol == config::Protocol::smtp && wanted != Channel::xclient && !server.exempt;
    const session::Standing standing = co_await session::examine(services_, server, asks, scope);
    if (!standing.reached) co_return unreached(*server.settings, server.endpoint.text, standing.evidence);
    tell(server, standing, asks);
  }

  void tell_of_spoof(const session::Server& server) {
    probed_.text += fmt::format("downstream {}, {}: identity spoof, it sees the addresses of the clients themselves\n",
                                server.settings->name, server.endpoint.text);
    add_json(fmt::format(R"({{"downstream":{},"server":{},"identity":"spoof","usable":true}})",
                         json_string(server.settings->name), json_string(server.endpoint.text)));
  }

  void tell_of_interception(const config::Downstream& downstream, const config::Endpoint& server) {
    probed_.text += fmt::format(
        "downstream {}, {}: this probe itself may be intercepted (scope output), and then gatepost has answered; run "
        "it "
        "with the right to mark its connections (root, CAP_NET_ADMIN)\n",
        downstream.name, server.text);
    add_json(fmt::format(R"({{"downstream":{},"server":{},"perhaps_intercepted":true}})", json_string(downstream.name),
                         json_string(server.text)));
  }

  void unreached(const config::Downstream& downstream, const std::string& server, const std::string& why) {
    probed_.unreached = true;
    probed_.text += fmt::format("downstream {}, {}: not reached: {}\n", downstream.name, server, printable(why));
    add_json(fmt::format(R"({{"downstream":{},"server":{},"reached":false,"detail":{}}})", json_string(downstream.name),
                         json_string(server), json_string(why)));
  }

  void tell(const session::Server& server, const session::Standing& standing, bool asked) {
    const bool missing = standing.channel == Channel::xclient && !session::tells_address(standing.offered.xclient);
    const bool bad = standing.relays || (missing && server.settings->protocol == config::Protocol::smtp);
    probed_.relays = probed_.relays || bad;
    session::ClientFacts client;
    client.ip = "192.0.2.1";
    const bool starttls = server.listener->tls.mode == config::ListenerTlsMode::starttls;
    const auto offered = session::offer(services_, *server.listener, client, standing.offered, starttls);
    const std::vector<std::string> withheld = protocol::withheld(standing.offered, offered);
    const std::string source = io::source_towards(server.endpoint);
    const std::string relaying = !asked            ? "not asked whether it relays"
                                 : standing.relays ? "OPEN RELAY, or nothing proves the contrary"
                                                   : "relays for nobody";
    std::string& text = probed_.text;
    text += fmt::format("downstream {}, {}: identity {}, {}\n", server.settings->name, server.endpoint.text,
                        to_string(standing.channel), relaying);
    if (!standing.evidence.empty()) text += "  " + printable(standing.evidence) + "\n";
    if (missing) text += "  XCLIENT is not offered to us: all clients are turned away\n";
    text += "  withheld from clients: " + (withheld.empty() ? "nothing" : printable(joined(withheld))) + "\n";
    text += fmt::format("  it sees us as {}", source);
    if (standing.channel != Channel::xclient || missing)
      text += fmt::format("; for Postfix, main.cf: smtpd_authorized_xclient_hosts = {}", source);
    text += "\n";
    add_json(fmt::format(
        R"({{"downstream":{},"server":{},"reached":true,"identity":{},"relays":{},"asked":{},"usable":{},"source":{},)"
        R"("withheld":{},"detail":{}}})",
        json_string(server.settings->name), json_string(server.endpoint.text), json_string(to_string(standing.channel)),
        standing.relays, asked, !bad, json_string(source), json_list(withheld), json_string(standing.evidence)));
  }

  static std::string json_list(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ",") + json_string(word);
    return "[" + out + "]";
  }

  void add_json(const std::string& object) { probed_.json += (probed_.json.empty() ? "" : ",") + object; }

  std::shared_ptr<const config::Config> config_;
  io::EventLoop loop_;
  io::UnboundResolver resolver_;
  io::AddressCache names_;
  io::TcpConnector connector_;
  session::Services services_;
  const bool marked_ = may_mark();
  Probed probed_;
};

}  // namespace

Probed probe_servers(std::shared_ptr<const config::Config> config) { return Survey(std::move(config)).run(); }

}  // namespace admin
