#include "proxy/session/downstream.h"

#include "proxy/session/maildir_downstream.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

std::unique_ptr<Downstream> make_downstream(const Services& services, const config::Downstream& settings, io::Scope& scope) {
  if (settings.path) return std::make_unique<MaildirDownstream>(services, settings, scope);
  return std::make_unique<SmtpDownstream>(services, settings, scope);
}

}  // namespace session
