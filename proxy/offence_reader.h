// What loops say of clients that may have to be banned: counted here, and passed on to the supervisor when it is enough.
// Whether somebody is banned the supervisor judges, and it alone says so in the log, no more often than is good.
#pragma once

#include "proxy/admin/log.h"
#include "proxy/offences.h"
#include "proxy/supervisor/outbox.h"

class OffenceReader {
 public:
  static constexpr std::size_t most_waiting = 256;  // requests that the supervisor has not read

  // `from_loops` and `control`, to the supervisor, stay the caller's.
  OffenceReader(int from_loops, int control, std::shared_ptr<const config::Config> config, admin::Log& log)
      : from_loops_(from_loops), control_(control), config_(std::move(config)), offences_(config_), log_(log) {}

  void read(io::TimePoint now);
  // Call it while waits(), when `control` has room, and now and then.
  void flush(io::TimePoint now);
  bool waits() const { return !unsent_.empty(); }

 private:
  void pass_on(const supervisor::BanRequest& request);
  void tell_dropped(io::TimePoint now);

  int from_loops_, control_;
  std::shared_ptr<const config::Config> config_;
  Offences offences_;
  admin::Log& log_;
  supervisor::Outbox unsent_;
  std::uint64_t dropped_ = 0;
  io::TimePoint told_dropped_{};
};
