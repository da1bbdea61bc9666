// Bans that the proxy asks for, on their way into the kernel's lists.
//
// Each request is judged by the configuration and by this host: whom nothing may ban is not banned, whatever the proxy
// says. What is left is done by a child, one at a time, because the programs of the packet filter take their time and
// our loop must not wait for them. So many a minute and no more; what comes too fast is dropped, and the log has its
// number.
#pragma once

#include <poll.h>
#include <signal.h>

#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "proxy/supervisor/ban_request.h"
#include "proxy/supervisor/child.h"

namespace supervisor {

// The client's network or, where that holds somebody whom nothing may ban, its address alone. The error is the end of
// the sentence "ADDRESS is not banned: ...". `own`: the addresses of this host.
std::expected<config::Netmask, std::string> whom_to_ban(const BanRequest& request, const config::Config& config,
                                                        const std::vector<config::Netmask>& own);

class BanOrders {
 public:
  static constexpr unsigned most_at_once = 60;  // then one a second
  static constexpr std::size_t most_waiting = 256, most_of_one_child = 16;
  static constexpr unsigned most_judged = 200;  // requests of one second; looking at each costs us something

  BanOrders(std::shared_ptr<const config::Config> config, admin::Log& log) : config_(std::move(config)), log_(log) {}

  void take(const Message& message, Clock::time_point now);
  // The lists go with the rules: from now on nobody is banned, and that is no error. The log has how many waited.
  void end();
  // Starts a child when there is something for it, and ends one that takes too long.
  void act(Clock::time_point now);
  std::optional<Clock::time_point> next_due(Clock::time_point now) const;
  void add_poll(std::vector<pollfd>& polls) const;
  void hear();                                  // what the child has done
  bool bury(pid_t pid, Clock::time_point now);  // false: it is none of ours
  void kill() const { worker_.signal(SIGKILL); }
  std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Order {
    BanRequest request;
    config::Netmask network;
    std::chrono::seconds time{0};
    const config::Listener* listener;  // of config_
    std::string reason() const;
  };
  void refuse(const BanRequest& request, const std::string& why, Clock::time_point now);
  bool known(const std::string& name, std::chrono::seconds pause, std::chrono::seconds time, Clock::time_point now);
  void refill(Clock::time_point now);
  void tell(const Order& order, const std::string& outcome);
  void drop(Clock::time_point now);
  void tell_dropped(Clock::time_point now);

  std::shared_ptr<const config::Config> config_;
  admin::Log& log_;
  std::deque<Order> waiting_, under_way_;
  struct Recent {
    Clock::time_point until;    // nothing new is heard of this network
    std::chrono::seconds time;  // but of bans that are longer
  };
  std::map<std::string, Recent> recent_;
  Child worker_{"ban worker"};
  unsigned budget_ = most_at_once, judged_ = 0, refused_ = 0;
  Clock::time_point refilled_{}, judged_since_{}, told_dropped_{};
  std::uint64_t dropped_ = 0;
  bool ended_ = false;
};

}  // namespace supervisor
