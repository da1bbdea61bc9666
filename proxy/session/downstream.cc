#include "proxy/session/downstream.h"

#include "proxy/session/maildir_downstream.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

io::Task<protocol::Reply> Downstream::inquire(std::string) {
  co_return protocol::reply::make(502, "5.5.1", "Command not implemented");
}

io::Task<protocol::Reply> Downstream::authenticate(std::string) {
  co_return protocol::reply::make(502, "5.5.1", "Command not implemented");
}

io::Task<protocol::Reply> Downstream::pass_starttls() {
  co_return protocol::reply::make(502, "5.5.1", "Command not implemented");
}

io::Task<std::optional<protocol::Reply>> Downstream::farewell() { co_return std::nullopt; }

std::unique_ptr<Downstream> make_downstream(const Services& services, const config::Listener& listener,
                                            const ClientFacts& client, io::Scope& scope) {
  const config::Downstream& settings = services.config->downstream_of(listener);
  if (settings.path) return std::make_unique<MaildirDownstream>(services, settings, scope);
  return std::make_unique<SmtpDownstream>(services, settings, listener, client, scope);
}

}  // namespace session
