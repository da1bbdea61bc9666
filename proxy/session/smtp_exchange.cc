// Commands to the downstream that stand by themselves: inquiries, and the lines of an AUTH exchange. What they leave
// behind belongs to this client: the connection serves nobody else (dialogue.md D4).
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::Task;
using protocol::Reply;
namespace reply = protocol::reply;

Task<Reply> SmtpDownstream::inquire(std::string command) {
  ask(std::move(command));
  Reply answered = co_await answer();
  life_.tainted = true;  // afterwards: it may be a new connection
  co_return answered;
}

Task<Reply> SmtpDownstream::pass_starttls() {
  Reply answered = co_await inquire("STARTTLS");
  // With octets behind it in the same read the connection is lost already, and the reply is no invitation.
  const bool ready = stream_ && answered.code() == 220 && unread_.empty() && !parser_.in_progress();
  if (answered.positive() && !ready) {
    if (stream_)
      lose(answered.code() == 220 ? "spoke between STARTTLS and the handshake"
                                  : "answered STARTTLS with " + to_text(answered));
    co_return reply::make(454, "4.7.0", "TLS not available due to temporary reason");
  }
  in_exchange_ = ready;  // no word of ours into it any more
  co_return answered;
}

Task<Reply> SmtpDownstream::authenticate(std::string line) {
  ask(std::move(line));
  auth_asked_ = true;
  Reply answered = co_await answer();
  auth_asked_ = false;
  life_.tainted = true;
  prove();
  in_exchange_ = stream_ && answered.code() == 334;
  authenticated_ = answered.code() == 235;
  if (answered.positive() && !authenticated_) {
    lose("answered AUTH with " + std::to_string(answered.code()));
    co_return reply::make(454, "4.7.0", "Temporary authentication failure");
  }
  co_return answered;
}

}  // namespace session
