// Clients that were turned away for a limit, and peers that may not say who their client is: told to the log at most every
// 10 s per reason, listener and network, with their number, and all together when gatepost ends.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "proxy/io/loop.h"

// The key of the configuration that was exceeded; or, of a connection to a listener with intercept: nobody has redirected
// it, it was meant for what is not ours to take, or it is one of our own that came back; or the list that a peer is not in
// who sends a PROXY header, XCLIENT or XFORWARD.
enum class Refusal : std::uint8_t {
  memory, sessions, listener_sessions, connections, listener_connections, client_sessions, client_connections,
  not_intercepted, port_not_intercepted, destination_not_protected, loop,
  proxy_from, xclient_from, xforward_from,
};
std::string_view to_string(Refusal reason);  // "limits.memory", "max_client_sessions" ...
// What the client reads, with CRLF: 421 4.3.2 for what is full for everybody, 421 4.7.0 for his own network; empty where
// there should be nobody at all.
std::string_view farewell(Refusal reason);
bool is_for_network(Refusal reason);
inline bool is_of_introduction(Refusal reason) { return reason >= Refusal::proxy_from; }

using Network = std::array<std::uint8_t, 16>;  // IPv4 mapped, bits behind the prefix zero; all zero: UNIX sockets
inline constexpr Network other_networks = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                           0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

struct RefusedClients {
  Refusal reason;
  std::size_t listener;
  Network network;  // all zero where the reason is not the network's
  std::uint64_t count;
};

struct RefusedInAll {
  Refusal reason;
  std::size_t listener;
  std::uint64_t count;
};

// Used by all loops; the lock is held for one look-up.
class Refusals {
 public:
  static constexpr std::chrono::seconds between{10};
  // Past it all further networks are other_networks; limits and attempts at introduction have a share each.
  static constexpr std::size_t most_known = 1024;

  // One more. What it returns is to be logged now.
  std::optional<RefusedClients> add(Refusal reason, std::size_t listener, Network network, io::TimePoint now);
  // What was counted and not told for 10 s: to be logged now.
  std::vector<RefusedClients> due(io::TimePoint now);
  // Since the beginning, told or not.
  std::vector<RefusedInAll> in_all() const;

 private:
  struct Count {
    io::TimePoint told{};
    std::uint64_t untold = 0;
  };
  using Key = std::tuple<Refusal, std::size_t, Network>;
  mutable std::mutex mutex_;
  std::map<Key, Count> known_;
  std::array<std::size_t, 2> shares_{};  // of known_: of limits, of introduction
  std::map<std::pair<Refusal, std::size_t>, std::uint64_t> in_all_;
};
