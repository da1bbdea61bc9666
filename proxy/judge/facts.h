// All that policy may look at, by value, and what it decides. Pure: no I/O, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "protocol/envelope.h"
#include "protocol/reply.h"
#include "scanner/report.h"

namespace judge {

struct Facts {
  std::string trace_id;    // named in replies, so that an administrator finds the log line
  bool scanned = true;     // false: no scanner is configured
  scanner::Report report;  // meaningful when scanned
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
