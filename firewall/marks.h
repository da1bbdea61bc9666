// Packet marks. They share one nibble of the 32 bits, so that the marks of others on the same host survive: every rule
// and every SO_MARK of ours looks at and writes these four bits alone.
#pragma once

#include <cstdint>

namespace firewall {

inline constexpr std::uint32_t mark_mask = 0x0f000000;

// To be delivered to a socket on this host whatever its destination is: `ip rule` sends it to our routing table.
inline constexpr std::uint32_t mark_divert = 0x01000000;
// On packets of our own connections to downstreams (SO_MARK): they are never intercepted again.
inline constexpr std::uint32_t mark_own = 0x02000000;
// What was decided about a connection, by the gate or (pass) the skip lists before it, (reset) the list of the banned.
// Without a gate TPROXY marks those that it diverts as taken.
inline constexpr std::uint32_t mark_take = 0x03000000;
inline constexpr std::uint32_t mark_pass = 0x04000000;
inline constexpr std::uint32_t mark_reset = 0x05000000;

// The zone of connection tracking for our connections with a spoofed source. A client may have the same port to the
// same server as we have for it; in one zone the two would be one connection.
inline constexpr std::uint16_t zone_own = 26480;

}  // namespace firewall
