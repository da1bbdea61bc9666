// Identity out (dialogue.md D5): how a server learns who the client is, so that it never takes our address for the
// client's by accident. What is known of a server is kept per loop: a day when all is well, a minute when it is not.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "protocol/capabilities.h"
#include "protocol/proxy_header.h"
#include "protocol/xclient.h"
#include "proxy/io/waiters.h"
#include "proxy/session/client_facts.h"
#include "proxy/session/complaints.h"
#include "proxy/session/services.h"

namespace session {

enum class Channel { undecided, none, xforward, xclient, proxy_v1, proxy_v2, spoof };
std::string_view to_string(Channel channel);  // as the key `identity` has it; undecided: "auto"
Channel channel_of(config::Identity identity);
// Servers that nobody named and that are not ours: original destinations of outgoing mail elsewhere (D5).
bool are_strangers(const config::Downstream& downstream, const config::Listener& listener,
                   const Intercepted* intercepted);
// The same for this way: TPROXY spoofs where the config leaves it open, and strangers are told nothing of themselves,
// as with NAT.
Channel configured_channel(const config::Downstream& downstream, const config::Listener& listener,
                           const Intercepted* intercepted);
inline bool is_proxy(Channel channel) { return channel == Channel::proxy_v1 || channel == Channel::proxy_v2; }
// A connection on which the client is told in this way is his for ever (D4).
inline bool is_of_one_client(Channel channel) {
  return is_proxy(channel) || channel == Channel::xclient || channel == Channel::spoof;
}

// Whoever reaches this listener from this host could reach the server from the same address himself: loopback only, no
// identity is taken from a peer in front, and the packet filter hands it nobody else's connections. TPROXY does: to a
// socket on loopback come clients from anywhere.
bool is_exempt(const config::Listener& listener);
// XCLIENT with these attributes says who the client is.
bool tells_address(const std::vector<std::string>& attributes);

// What is told. XCLIENT never tells a login (D1).
protocol::ProxyHeader proxy_header_of(const ClientFacts& client);
protocol::ClientIdentity xclient_of(const ClientFacts& client, std::string_view helo, bool esmtp);
// Of the client's own client, where that was told by XFORWARD.
protocol::ClientIdentity xforward_of(const ClientFacts& client);

// What of a banner stays the same from day to day: words without digits, colons, days and months.
std::string mark_of_banner(const protocol::Reply& banner);
// Limits of size apart, which may follow the free space.
bool same_offer(protocol::Capabilities a, protocol::Capabilities b);

// One address of a downstream. The pointers are into services.config.
struct Server {
  Server(const config::Downstream& downstream, const config::Listener& before, config::Endpoint address,
         std::string name)
      : settings(&downstream),
        listener(&before),
        endpoint(std::move(address)),
        host(std::move(name)),
        exempt(is_exempt(before)) {}
  const config::Downstream* settings;
  const config::Listener* listener;
  config::Endpoint endpoint;
  std::string host;  // for TLS: its name, or its address
  bool exempt;       // it may be used without proof that it does not relay
};

struct Standing {
  bool reached = false;  // otherwise nothing is known but `evidence`
  Channel channel = Channel::none;
  bool relays = false;             // for everybody, or nothing proves that it does not
  std::string evidence;            // of that
  std::string banner;              // its mark
  protocol::Capabilities offered;  // to us
};
// Asks the server, by as many connections as it takes; `recipients`: with the relay probe.
io::Task<Standing> examine(Services services, Server server, bool recipients, io::Scope& scope);
// Why clients are turned away, and the lines that mend it.
std::string open_relay_sentence(const Server& server, const Standing& standing);
std::string no_xclient_sentence(const Server& server);

class Identities {
 public:
  Identities(io::Loop& loop, Complaints& complaints) : loop_(loop), complaints_(complaints) {}
  Identities(const Identities&) = delete;
  Identities& operator=(const Identities&) = delete;

  // What is known and holds still; nullptr: nothing. Good until the next wait.
  const Standing* known(const Server& server) const;
  // `address` as in Endpoint::text: for each session on a reused connection, where a Server would have to be parsed.
  const Standing* known(const config::Downstream& settings, std::string_view address, bool exempt) const;
  // The same, after an examination where it is missing; one serves all who wait. Not reached when that takes too long.
  io::Task<Standing> standing(Services services, Server server, io::Scope& scope, io::TimePoint until);
  // Learnt beside a session, without examination.
  void learn(const Services& services, const Server& server, Standing standing);
  // The server is not what it was: it is examined before it is used again. Not more than once a minute, for some change
  // with every connection.
  void doubt(const Server& server);
  // Somebody says that any of them may have changed: all are, at once, and what becomes of them is logged again. An
  // examination that is under way begins again, with `tls`.
  void doubt_all(std::shared_ptr<const io::TlsContexts> tls);
  // True once a minute and server: for what is to be logged no more often, by all loops together.
  bool may_complain(const Server& server);

 private:
  class Examination;
  struct Entry {
    Standing standing;
    io::TimePoint fresh_until{}, examined{};
    Channel logged_channel = Channel::undecided;
    bool examining = false;
    bool again = false;  // what is being examined may have changed since that began, or `tls_`
    io::Waiters waiters;
  };
  io::Task<> look(Services services, Server server, Entry& entry);
  void settle(const Services& services, const Server& server, Entry& entry, Standing found);

  io::Loop& loop_;
  Complaints& complaints_;
  std::shared_ptr<const io::TlsContexts> tls_;  // since doubt_all()
  std::map<std::string, Entry> entries_;  // nodes stay where they are; the addresses of the configured servers
};

}  // namespace session
