#include "config/settings_rows.h"

namespace config {

using namespace rows;

Section downstream_settings() {
  using D = Downstream;
  Section section = mapping<&Config::downstreams>(
      "downstreams", "Where mail goes: each has one of servers, path and original.",
      {
          key<&D::protocol>("protocol", {}, "What the servers speak."),
          key<&D::servers>(
              "servers", between(1, 65535),
              "Mail servers, tried in order; a name stands for all addresses that the DNS has for it by then."),
          key<&D::path>("path", as(mailbox_path),
                        "Maildir for the mail; %local and %domain are those of the recipient."),
          key<&D::original>("original", {},
                            "Mail goes where the client meant to go: the original destination of its connection."),
          key<&D::create>("create", {}, "Make a missing maildir; otherwise its recipient is refused with 550 5.1.1."),
          key<&D::accept_source_loss>("accept_source_loss", {},
                                      "Servers that see gatepost as the client need not prove that they refuse to "
                                      "relay; one that is seen to relay is not used all the same."),
          key<&D::identity>("identity", {}, "How the servers learn who the client is."),
          key<&D::relay_probe_recipients>(
              "relay_probe_recipients", as(mailbox),
              "Foreign mailboxes, three at most, that the servers must refuse to relay to."),
          key<&D::tell_tls>("tell_tls", {},
                            "With proxy-v2: after STARTTLS connect anew, so that the PROXY header tells of it."),
          key<&D::reuse>("reuse", {}, "Connections may serve several sessions, where the servers cannot tell."),
          key<&D::connect_timeout>("connect_timeout", between(1ms, 1h), "Longest wait for a connection, per server."),
          key<&D::greeting_timeout>("greeting_timeout", between(1ms, 1h),
                                    "Longest wait for TLS, the banner and gatepost's own EHLO together."),
          key<&D::reply_timeout>("reply_timeout", between(1ms, 1h),
                                 "Longest wait for the reply to the client's EHLO, MAIL, RCPT, RSET or DATA."),
          key<&D::keepalive>("keepalive", between(0s, 1h),
                             "Time between two NOOPs while the client sends or a scan runs; 0s turns them off."),
      },
      {downstream_tls_settings()});
  section.exactly_one_of = {"servers", "path", "original"};
  return section;
}

}  // namespace config
