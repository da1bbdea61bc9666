// check --probe: each server of each SMTP downstream is asked what it offers to us, and whether it would relay for
// whomever it takes us for (dialogue.md D5).
#pragma once

#include <memory>
#include <string>

#include "config/config.h"

namespace admin {

struct Probed {
  std::string text;     // lines for people
  std::string json;     // an array of objects
  bool relays = false;  // clients of some listener could relay through one of the servers
  bool unreached = false;
};
// Blocks, for as long as the servers take.
Probed probe_servers(std::shared_ptr<const config::Config> config);

}  // namespace admin
