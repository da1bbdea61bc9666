// Who may begin a session (T:F6, features C6): looked at before any work is done for a client, by all loops together.
//
// Sessions are counted in total, per listener and per client network; connections of a minute, too: per client network
// the refused ones among them, from the first of the minute on. A client network is what client_prefix_v4 and
// client_prefix_v6 say; all peers of a UNIX socket are one. A listener behind a PROXY header counts no network before
// the header has told whose connection it is: recount(). A peer that may say XCLIENT counts for itself until it does.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "config/config.h"
#include "proxy/io/loop.h"
#include "proxy/refusals.h"

class Admission {
 public:
  // Networks that are remembered for their rate alone; past it they are forgotten, and begin a new minute.
  static constexpr std::size_t most_idle_networks = 65536;

  explicit Admission(std::shared_ptr<const config::Config> config);

  // One admitted session; it counts as long as this lives.
  class Seat {
   public:
    Seat(Seat&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          listener_(other.listener_),
          network_(other.network_),
          told_(other.told_) {}
    Seat& operator=(Seat&&) = delete;
    Seat(const Seat&) = delete;
    ~Seat();
    std::size_t listener() const { return listener_; }

   private:
    friend class Admission;
    Seat(Admission& owner, std::size_t listener) : owner_(&owner), listener_(listener) {}
    Admission* owner_;
    std::size_t listener_;
    std::optional<Network> network_;  // that it is counted in
    bool told_ = false;               // that of a client of whom the peer has told
  };

  std::expected<Seat, Refusal> admit(std::size_t listener, const sockaddr* peer, io::TimePoint now);
  // The client is another one than the peer, or than the last one, whose connection has been one all the same. Refused:
  // the seat counts for no network, and its session is to end.
  std::optional<Refusal> recount(Seat& seat, const sockaddr* told, io::TimePoint now);

  // Octets that the process has now; from limits.memory on nobody is admitted.
  void note_memory(std::uint64_t octets);

  // Whether this listener has no room now, or has refused somebody for want of it since this was last asked.
  bool was_full(std::size_t listener);

  Network network_of(std::size_t listener, const sockaddr* address) const;
  // "192.0.2.0/24", "2001:db8::/64", "unix"; "others" of other_networks.
  std::string text_of(std::size_t listener, const Network& network) const;
  std::size_t networks() const;  // remembered

 private:
  using Key = std::pair<std::size_t, Network>;  // listener first
  struct Count {
    std::uint32_t sessions = 0;
    std::uint32_t connections = 0;  // since `minute`
    io::TimePoint minute{};
  };
  // New connections of this minute, of all loops.
  class Rate {
   public:
    bool exceeds(std::uint32_t most, io::TimePoint now);  // with one more

   private:
    std::atomic<std::uint64_t> state_{0};  // number of the minute, count
  };
  std::optional<Refusal> exceeded_rate(std::size_t listener, io::TimePoint now);
  std::optional<Refusal> count_in(Seat& seat, const Network& network, io::TimePoint now);
  void leave_network(Seat& seat, bool was_none = false);  // `was_none`: the connection does not count any more either

  std::shared_ptr<const config::Config> config_;
  std::atomic<bool> memory_is_full_{false};
  std::atomic<std::uint32_t> sessions_{0};
  std::deque<std::atomic<std::uint32_t>> of_listener_;
  Rate rate_;
  std::deque<Rate> rate_of_listener_;
  std::deque<std::atomic<bool>> refused_;  // for want of room, by listener
  mutable std::mutex mutex_;
  std::map<Key, Count> networks_;  // a tree: no client can choose addresses that collide
};
