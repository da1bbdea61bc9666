// The children and the sockets between them: who is started when, and who gets a new socket when another one was
// replaced. The supervisor's loop decides about signals and the end.
//
//   keeper dies   a new one is forked; proxy and keeper get a new socket per loop
//   scanner dies  a new one is started; proxy and scanner get a new socket per loop. Mail is deferred meanwhile
//   proxy dies    the window says what was in flight; a new one is forked with the same listening sockets, and gets a
//                 new socket per loop to the keeper and the scanner, which live on: answers to the dead proxy's jobs go
//                 to sockets that are closed
//   gate dies     a new one is started; meanwhile the kernel does with new connections what firewall.gate.on_failure
//   says
//
// A child that the proxy calls silent is killed, and so replaced; so is a gate that does not answer us, for until its
// queue is full new connections wait for it, whatever on_failure says. Whatever the system refuses (descriptors,
// processes) is tried again after a growing pause.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "firewall/passed_on.h"
#include "proxy/admin/log.h"
#include "proxy/supervisor/ban_orders.h"
#include "proxy/supervisor/child.h"
#include "proxy/supervisor/heartbeat.h"
#include "proxy/supervisor/managed_rules.h"
#include "proxy/supervisor/scanner_program.h"
#include "proxy/supervisor/sockets.h"
#include "proxy/supervisor/window.h"

struct ProxyStart;

namespace supervisor {

class Family {
 public:
  using RunProxy = std::function<int(ProxyStart)>;
  Family(std::shared_ptr<const config::Config> config, Listening listening, RunProxy run_proxy, admin::Log& log,
         int log_file, std::string scanner_directory);

  // Starts who should run and does not, when the pause after the last death is over; connects who is new; kills who
  // should have ended by now.
  void act_due(Clock::time_point now);
  std::optional<Clock::time_point> next_due() const;
  // Buries the dead.
  void reap();

  void add_polls(std::vector<pollfd>& polls) const;
  void serve_sockets();  // reads and writes all of them as far as that goes without blocking

  // All that are configured are ready; a scanner that has died at least once is not waited for.
  bool ready() const;
  bool scanner_ready() const { return greeted_loops_.size() == loops_; }
  // Nobody is served yet and there is no use in trying again: the proxy or the keeper cannot start at all.
  bool hopeless() const { return hopeless_; }

  // Drain or cut: the proxy is told, the listening sockets are closed, and it is not started again.
  void end_proxy(Message::Kind kind);
  // The rules of the packet filter, with firewall.manage; done when they are settled.
  void put_in_rules() { rules_.put_in(); }
  void withdraw_rules() { rules_.withdraw(); }
  void finish_rules() { rules_.finish(); }
  void abandon_rules() { rules_.abandon(); }
  bool rules_settled() const { return rules_.settled(); }
  bool rules_left() const { return rules_.left(); }
  bool messages_in_flight() const { return window_.in_use(); }
  bool proxy_running() const { return proxy_.running(); }
  // When the proxy is gone: the others are told, and not started again.
  void end_others();
  bool anyone_running() const { return proxy_.running() || keeper_.running() || scanner_.running() || gate_.running(); }
  void kill_all();
  bool ended_well() const { return ended_well_; }

  void use_log_file(int file);
  // Certificates and keys for the proxy: for its next start, and for the one that runs.
  void use_tls_files(scanner::OwnedFd files);
  // What the proxy has learnt of the servers may be different now.
  void doubt_servers() { proxy_.tell({Message::Kind::reload, 0, {}}, {}); }

 private:
  // The sockets between the proxy's loops and another child.
  struct Link {
    Message::Kind kind;
    std::optional<Clock::time_point> due{};  // one of the two is new: to be made then
    Clock::time_point made{};
    Backoff backoff{};
  };
  void count_passed_on();
  void save_passed_on(Clock::time_point now);
  void start_proxy();
  void start_keeper();
  void start_scanner();
  bool scanner_wanted() const { return !config_->scanners.empty() && !others_end_; }
  void start_gate();
  bool gate_wanted() const { return config_->firewall.gate.queue != 0 && !others_end_; }
  // Whether there is somebody who takes what it would take, and which listeners have room.
  void tell_gate();
  void tell_room(unsigned listener);
  void note_room(unsigned listener, bool full);
  void ask_gate(Clock::time_point now);
  void hear_gate(std::string_view word);
  void connect(Child& child, Link& link, Clock::time_point now);
  void release(Child& child);
  void bury(Child& child, const End& end);
  void tell_unknown();
  void hear(Child& child);
  void obey(Child& child, const Message& message);
  void replace(Child& child, const Link& link);
  void send_transparent_sockets(const Message& wanted);
  // What a program writes to standard error, and the line that it has begun.
  struct Words {
    const char* name;
    scanner::OwnedFd fd{};
    std::string line{};
  };
  void copy(Words& words, bool to_the_end);
  void say(admin::Level level, const std::string& sentence) { log_.say(0, level, sentence); }

  std::shared_ptr<const config::Config> config_;
  Listening listening_;
  unsigned loops_;
  RunProxy run_proxy_;
  admin::Log& log_;
  int log_file_;
  scanner::OwnedFd tls_files_;
  std::string scanner_directory_;
  Window window_;
  std::unique_ptr<firewall::PassedOn> passed_on_;
  Clock::time_point passed_on_due_{};  // to be written to its file, for others to read
  bool passed_on_failed_ = false;      // and the log has heard of it
  Child proxy_{"proxy"}, keeper_{"keeper"}, scanner_{"scanner"}, gate_{"gate"};
  Link to_keeper_{.kind = Message::Kind::keeper_socket}, to_scanner_{.kind = Message::Kind::scanner_socket};
  std::set<unsigned> keeping_loops_;  // of the proxy, that have their socket to the keeper that runs now
  std::set<unsigned> greeted_loops_;  // of the proxy, by the scanner that runs now
  Words scanner_words_{"scanner"}, gate_words_{"gate"};
  Heartbeat gate_heartbeat_;
  std::set<unsigned> full_listeners_;  // that have no room for sessions
  Clock::time_point next_line_about_room_{};
  BanOrders bans_;
  ManagedRules rules_;
  bool scanner_failed_ = false, gate_failed_ = false;
  bool transparent_failed_ = false;  // and the log has heard of it
  bool ever_ready_ = false, hopeless_ = false;
  bool proxy_ends_ = false, others_end_ = false, ended_well_ = true;
};

}  // namespace supervisor
