// The kernel's table of connections, which Linux's rules need: when it is full new connections are dropped, ours or
// not (T:H7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"

namespace firewall {

// Watches how full the table is.
class ConntrackWatch {
 public:
  // `directory` holds nf_conntrack_count and nf_conntrack_max.
  explicit ConntrackWatch(std::string directory = "/proc/sys/net/netfilter") : directory_(std::move(directory)) {}

  // Once when 80 of 100 places are taken, and again only after they were fewer than 60: a sentence for the log, with
  // the mend. Nothing otherwise, nor where the kernel tracks no connections.
  std::optional<std::string> look();

 private:
  std::string directory_;
  bool told_ = false;
};

// Some listener depends on it: REDIRECT is done by it, and with TPROXY the mark of a connection tells those that are
// diverted from those that were there before the rules.
bool needs_conntrack(const config::Config& config);

}  // namespace firewall
