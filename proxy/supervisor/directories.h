// The directories that gatepost writes into: there, and writable by who writes, before anything else starts.
#pragma once

#include <expected>
#include <string>

#include "config/config.h"

namespace supervisor {

// Makes a missing directory (its parents 0755 and ours, itself `mode` and the account's); an existing one is left as it
// is. The error is one sentence: what is in the way, or that `who` may not write there.
std::expected<void, std::string> provide_directory(const std::string& path, const config::Account& account,
                                                   unsigned mode, const std::string& who);

// Spool directory (the proxy's), state directory (the keeper's) and the fixed part of each maildir path whose mailboxes
// may be made (the keeper's).
std::expected<void, std::string> provide_directories(const config::Config& config);

// Where the scanner may put temporary files when it gets no better place: a directory of its account, for a tmpfs to be
// mounted over; empty when none can be made.
std::string provide_scanner_directory(const config::Config& config);

}  // namespace supervisor
