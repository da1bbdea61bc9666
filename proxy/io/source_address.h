// The address of ours that a server sees when we connect to it.
#pragma once

#include <string>

#include "config/config.h"

namespace io {

// What the kernel's routes say now, without sending anything: "127.0.0.1"; empty when there is no way there. By a UNIX
// socket there is none: mail servers write 127.0.0.1 for it.
std::string source_towards(const config::Endpoint& server);

}  // namespace io
