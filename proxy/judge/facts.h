// All that policy may look at, by value, and what it decides. Pure: no I/O, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "protocol/envelope.h"
#include "protocol/reply.h"
#include "proxy/io/tls_facts.h"
#include "scanner/report.h"

namespace judge {

struct Facts {
  std::string trace_id;    // named in replies, so that an administrator finds the log line
  bool scanned = true;     // false: no scanner is configured
  scanner::Report report;  // meaningful when scanned
  // The client's TLS, by its handshake with us or, with `tls_told`, as a listed peer in front says. Names and certificates
  // are the client's words unless `verified`, and what that peer does not tell is empty.
  std::optional<io::TlsFacts> tls;
  bool tls_told = false;
};

struct Verdict {
  config::Action action = config::Action::defer;
  scanner::Outcome outcome = scanner::Outcome::error;
  bool scanned = true;
  std::optional<protocol::Reply> reply;  // what the client reads, when action is not relay
  std::string added_field;               // "X-Gatepost-Verdict: ...\r\n", or empty
  std::string status;  // for the log: CLEAN, VIRUS:name, UNSCANNABLE:why, SUSPICIOUS:name, ERROR:why, UNSCANNED

  bool relays() const { return action == config::Action::relay; }
};

}  // namespace judge
