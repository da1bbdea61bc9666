// Octets from one stream to the other, both ways, as they are: what is inside is not ours to read.
#pragma once

#include <cstdint>

#include "proxy/io/stream.h"

namespace session {

struct Tunnelled {
  std::uint64_t from_client = 0, from_server = 0;  // octets that were passed on
  bool idle = false;                               // ended because nothing moved for too long
};

// Until both have ended, one is lost, or nothing has moved for `patience`. An end of one side is passed on to the other.
io::Task<Tunnelled> tunnel(io::Stream& client, io::Stream& server, io::Scope& scope, io::Duration patience);

}  // namespace session
