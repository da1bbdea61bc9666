// Who the client is, as far as we know: from its socket, or as a listed peer in front of us has told (PROXY, XCLIENT,
// XFORWARD). For the log, for policy, and for telling the downstream.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"
#include "protocol/proxy_header.h"
#include "protocol/received.h"
#include "protocol/xclient.h"
#include "proxy/io/tls_facts.h"

namespace session {

struct ClientFacts;

// How somebody in front says who his client is; a listener lists who may (`proxy_from`, `xclient_from`, `xforward_from`).
enum class Introducing : std::uint8_t { proxy, xclient, xforward };

// The limits that a session counts for (proxy/admission.h).
class Occupancy {
 public:
  virtual ~Occupancy() = default;
  // A peer in front has told whose connection it is. False: there are too many of that client's; `farewell` has the line
  // for it, with CRLF.
  virtual bool recount(const sockaddr* told, std::string_view& farewell) = 0;
  // A peer that is not listed has tried it, and was refused: to be counted, and to be told to the log.
  virtual void introduced_unlisted(Introducing how, const ClientFacts& peer) = 0;
  // It has done what it may be banned for.
  virtual void offended(config::Offence what, const ClientFacts& client) = 0;
  virtual void passed_on() = 0;  // what follows is between client and server, and unscanned
  virtual void cut(bool in_transaction) = 0;  // gatepost ends, and did not wait for the end of this session
};

// A connection that was meant for somebody else.
struct Intercepted {
  config::Endpoint destination;  // where the client meant to go
  sockaddr_storage client{};     // its own end
  bool to_here = false;          // the destination is an address of this host
};

// The two ends of an accepted connection.
struct Arrival {
  sockaddr_storage peer{};
  sockaddr_storage local{};
  bool from_here = false;  // the peer has an address of this host; to be said where that is none of loopback
  std::shared_ptr<const Intercepted> intercepted;  // null: it was meant for us
  Occupancy* occupancy = nullptr;  // outlives the session; nullptr: nobody counts
};

struct ClientFacts {
  std::string listener;
  std::string_view direction{};  // config::told_direction
  std::string peer;     // ip:port at the other end of the connection
  std::string address;  // ip:port of the client, the same unless somebody in front told another
  std::string ip;
  std::uint16_t port = 0;
  std::string destination_ip;  // where the client connected to
  std::uint16_t destination_port = 0;
  std::string name;  // host name that was told; empty = unknown
  std::string helo;
  bool lmtp = false;  // the listener's protocol
  bool esmtp = false;
  bool loopback = false;  // on this host
  bool peer_is_here = false;  // so is the other end of the connection, whoever is told to stand behind it
  bool told = false;      // by a peer in front of us
  std::optional<io::TlsFacts> tls;
  bool authenticated = false;  // AUTH has succeeded
  std::string login;           // its user where it is known, or told by XCLIENT
  std::shared_ptr<const Intercepted> intercepted;  // null: the client has connected to us knowingly
  // What else a peer in front has told; null: nothing. The texts are its own, or its client's: escape them.
  std::shared_ptr<const protocol::ProxyHeader> front;         // for its TLVs
  std::shared_ptr<const protocol::ClientIdentity> forwarded;  // XFORWARD, of this transaction, for the log alone
  std::shared_ptr<const protocol::ReceivedFrom> origin;       // the topmost Received field of this message, likewise
  // TLS between the client and whom it is connected to, whoever that is.
  bool encrypted() const { return tls || (front && front->tls && front->tls->tls); }
};

// STARTTLS of this client goes to the server it means, and nothing behind it is read: by the listener's mode, or its lists.
bool passes_tls(const config::Listener& listener, const ClientFacts& client);
// As a peer in front has told of it (PROXY); nothing where it has not, or there is none.
std::optional<io::TlsFacts> told_tls(const ClientFacts& client);
// What the sockets say.
ClientFacts facts_of(const Arrival& arrival, const config::Listener& listener);
// What its mail came by, for the log ("SMTP", "ESMTPS", "UTF8LMTPSA" ...) and the Received field. `utf8`: MAIL carried
// SMTPUTF8.
protocol::TransmissionType transmission_type(const ClientFacts& client, bool utf8);

}  // namespace session
