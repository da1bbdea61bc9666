// Octets from one stream to the other, both ways, as they are: what is inside is not ours to read. That it is TLS is
// seen from outside: nothing goes by of a side that begins otherwise.
#pragma once

#include <cstdint>
#include <string_view>

#include "proxy/io/stream.h"

namespace session {

struct Tunnelled {
  std::uint64_t from_client = 0, from_server = 0;  // octets that were passed on
  // How it ended: "closed" by both, "lost", "idle" (nothing has moved for too long), "not_tls"; "stopped" while it
  // runs.
  std::string_view ended = "stopped";
};

// Until both have ended, one is lost or does not begin with a TLS record, or nothing has moved for `patience`. An end
// of one side is passed on to the other. `done` is current even where a stop is thrown.
io::Task<> tunnel(io::Stream& client, io::Stream& server, io::Scope& scope, io::Duration patience, Tunnelled& done);

}  // namespace session
