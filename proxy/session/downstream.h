// The downstream leg as a session sees it: a live SMTP dialogue (smtp_downstream.h) or a maildir behind the keeper
// (maildir_downstream.h). Replies are values; a leg that was lost answers 4yz.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/capabilities.h"
#include "protocol/command.h"
#include "protocol/envelope.h"
#include "proxy/io/stream.h"
#include "proxy/session/client_facts.h"
#include "proxy/session/services.h"

namespace session {

class ClientLeg;

// Everything that delivering one message needs.
struct Parcel {
  const protocol::Envelope& envelope;
  io::Spool& spool;
  std::uint64_t dot_lines;        // canonical lines that begin with a dot
  std::string_view added_field;   // canonical header line(s) for the top, or empty
  std::string_view trace_id;
  const ClientFacts& client;
  InFlightSlot& slot;             // opened before the point of no return
  ClientLeg& client_leg;          // asked "still there?" before the point of no return
  io::TimePoint answer_by;        // our reply to the client must be written by then
  bool by_data;                   // the client said DATA, not BDAT: with `hide` so do we
  // The same message for others; `fewer` must outlive it.
  Parcel for_recipients_of(const protocol::Envelope& fewer) const {
    return Parcel(fewer, spool, dot_lines, added_field, trace_id, client, slot, client_leg, answer_by, by_data);
  }
};

struct Delivery {
  explicit Delivery(protocol::Reply answer) : reply(std::move(answer)) {}
  protocol::Reply reply;
  std::vector<protocol::Reply> each{};  // LMTP: of each recipient, in order; empty: `reply` is that of all
  std::string settled{};     // keys of the journal to forget() once the client has been told
  bool client_gone = false;  // noticed before our final dot; nothing was delivered
  bool unknown = false;      // lost after our final dot: the downstream may have the message
};

// What was told of the client holds no more.
enum class ClientChange { secured, told };  // it speaks TLS now; a peer in front says that it is another one

class Downstream {
 public:
  virtual ~Downstream() = default;

  // The greeting; a 2yz means that the leg is open. Otherwise the reply is for the client, and the session ends.
  virtual io::Task<protocol::Reply> open() = 0;
  // EHLO or HELO with the client's name. After a 2yz capabilities() are those of this server.
  virtual io::Task<protocol::Reply> hello(protocol::Verb verb, std::string name) = 0;
  virtual const protocol::Capabilities& capabilities() const = 0;

  // A group of pipelined commands: each of these asks, answer() gives the replies in the same order.
  virtual void mail(const protocol::MailCommand& command) = 0;
  virtual void rcpt(const protocol::RcptCommand& command) = 0;
  virtual void reset() = 0;  // RSET; its reply is taken by answer() too
  virtual io::Task<protocol::Reply> answer() = 0;
  // VRFY, EXPN, HELP or ETRN, outside of any group.
  virtual io::Task<protocol::Reply> inquire(std::string command);
  // A line of an AUTH exchange, outside of any group: AUTH itself, then a response to each 334. After 235 the leg is
  // this user's: once it is lost nothing replaces it, and everything is answered by 421.
  virtual io::Task<protocol::Reply> authenticate(std::string line);
  // STARTTLS of the client's own, outside of any group. After a 220 the stream is the client's: nothing but tunnel() is
  // to be done with it, then close(false).
  virtual io::Task<protocol::Reply> pass_starttls();
  virtual io::Stream* stream() { return nullptr; }
  // The transaction's accepted envelope while one is open (for replay after a lost connection), else nullptr.
  virtual void follow(const protocol::Envelope* accepted) = 0;
  // RSET whose reply nobody waits for: after a message that we refuse ourselves.
  virtual void forget_transaction() = 0;
  // Nothing of this connection is to be used any more; the next command makes a new one.
  virtual void start_over() = 0;
  // Between two sessions of the dialogue, before the next hello(). Where the downstream has to hear of it, and cannot on
  // this connection, that is closed and the next command makes a new one.
  virtual void client_changed(ClientChange) {}

  // While nothing is asked: `stirred` is raised when bytes or an end of connection arrive; then call look().
  virtual io::Signal& stirred() = 0;
  virtual void look() = 0;
  // Unasked bytes came: the leg cannot be trusted, the session must end with 421.
  virtual bool broken() const = 0;
  // Keeps the connection from idling out; returns when to call again.
  virtual io::TimePoint keep_alive(io::TimePoint now) = 0;

  virtual io::Task<Delivery> deliver(Parcel& parcel) = 0;
  // QUIT now, and its reply; nothing where nobody answers it soon. close() follows.
  virtual io::Task<std::optional<protocol::Reply>> farewell();
  // In order (QUIT) when `polite`, else by RST.
  virtual io::Task<> close(bool polite) = 0;
  virtual std::string address() const = 0;  // relay= of the log
  virtual std::vector<std::string> server_names() const { return {}; }  // of its certificate, if that is verified
  virtual std::string trouble() const { return {}; }  // why there is no connection, for the log
};

// `client` is kept and looked at whenever the downstream is to be told who it is.
std::unique_ptr<Downstream> make_downstream(const Services& services, const config::Listener& listener,
                                            const ClientFacts& client, io::Scope& scope);

}  // namespace session
