// The life of a worker process after fork: one message at a time, until the nursery's socket closes.
#pragma once

#include <string>

#include "scanner/engine.h"
#include "scanner/job.h"

namespace scanner {

// Takes away what a worker does not need (descriptors, memory past settings.memory_limit, core dumps), then serves
// `socket` (SOCK_SEQPACKET, made blocking): a Request with its descriptor in, a Report out. Never returns.
[[noreturn]] void run_worker(Engine& engine, const Settings& settings, int socket, const std::string& directory);

}  // namespace scanner
