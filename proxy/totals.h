// What the log is told of what is counted (refusals.h, withheld_log.h).
#pragma once

#include <cstddef>
#include <vector>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "proxy/admission.h"
#include "proxy/io/loop.h"
#include "proxy/refusals.h"
#include "proxy/session/withheld_log.h"

// One or more that were turned away, from `ring` of the log.
void log_refused(admin::Log& log, unsigned ring, const config::Config& config, const Admission& admission,
                 const RefusedClients& refused);

// For the thread that started the loops.
class Totals {
 public:
  static constexpr std::chrono::hours between{1};

  Totals(admin::Log& log, const config::Config& config, const Refusals& refusals, session::WithheldSets& withheld)
      : log_(log), config_(config), refusals_(refusals), withheld_(withheld) {}

  // Greetings with keywords withheld, once an hour where there were more.
  void look(io::TimePoint now);
  // Nobody is served any more.
  void end();

 private:
  void log_withheld(const std::vector<session::WithheldCount>& counts);
  admin::Log& log_;
  const config::Config& config_;
  const Refusals& refusals_;
  session::WithheldSets& withheld_;
  io::TimePoint due_{};
};
