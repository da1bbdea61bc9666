// Downstream connections between two sessions (dialogue.md D4). One pool per loop; what may come here is decided by
// SmtpDownstream, how long it stays by the pool: ten seconds, then QUIT.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "config/config.h"
#include "protocol/capabilities.h"
#include "proxy/io/stream.h"
#include "proxy/io/tls_facts.h"

namespace session {

// What a connection has been through. Servers count, and nobody is to pay for what others did: Postfix slows down and hangs
// up behind 10 and 20 errors, 100 commands without a message are taken for errors there; Sendmail takes a second for the
// third greeting of a connection, and twice as long for each further one; Exim hangs up at the eleventh command without
// mail, messages or not [measured: Postfix 3.7, Sendmail 8.17, Exim 4.96].
struct ConnectionLife {
  unsigned transactions = 0;
  unsigned negative_replies = 0;
  unsigned greetings = 0;  // since the connection, or its TLS, began
  unsigned idle_commands = 0;  // EHLO, RSET and NOOP; `patient`: since the last message that was taken
  bool patient = false;  // as Postfix and LMTP servers are
  bool tainted = false;  // AUTH, VRFY, EXPN, ETRN, a surplus octet, a reply that was cut: serves nobody else
  void greet() {
    ++greetings;
    ++idle_commands;
  }
  void take_message() {
    if (patient) idle_commands = 0;
  }
  bool may_serve_again() const {
    const bool waits = patient ? idle_commands < 40 : greetings < 2 && idle_commands < 5;
    return waits && !tainted && negative_replies < 3 && transactions < 100;
  }
};

struct IdleConnection {
  std::unique_ptr<io::Stream> stream;
  std::string address;
  ConnectionLife life;
  std::shared_ptr<const io::TlsFacts> tls;
  std::string host;  // of the server, for TLS
  // The last EHLO or HELO on it, and what was offered then: a session of the same name need not greet again.
  std::string greeted_by{};
  protocol::Capabilities capabilities{};
};

class ConnectionPool {
 public:
  static constexpr std::size_t most_idle = 32;  // of one downstream: each holds a process of its server
  static constexpr io::Duration longest_idle = std::chrono::seconds(10);

  // The roots of the loop must be gone before the pool.
  explicit ConnectionPool(io::Loop& loop) : loop_(loop) {}
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  // The one that was used last and is silent and open still; nothing if there is none.
  std::optional<IdleConnection> take(const config::Downstream& downstream);
  // Closes it when the pool is full, or the loop drains.
  void keep(const config::Downstream& downstream, IdleConnection connection);
  std::size_t idle() const { return idle_.size(); }

 private:
  struct Idle {
    const config::Downstream* downstream;
    IdleConnection connection;
    io::TimePoint until;
  };
  io::Task<> sweep();
  io::Loop& loop_;
  std::list<Idle> idle_;          // the oldest first
  bool swept_ = false;     // by a root that ends what is overdue
};

}  // namespace session
