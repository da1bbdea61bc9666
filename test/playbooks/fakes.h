// What surrounds a session in the tests: a connector that gives memory streams, a scanner, a keeper and a window that
// do as the script says and remember what they were given.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proxy/session/services.h"
#include "test/playbooks/memory_stream.h"

namespace playbook {

class FakeConnector final : public io::Connector {
 public:
  enum class Plan { accept, refuse, hang };
  io::Task<io::Connected> connect(const std::vector<config::Endpoint>& servers, io::Scope& scope,
                                  io::Duration per_server, io::TimePoint until) override;
  // The n-th connection, from 1. It exists from the first time somebody speaks of it.
  Peer& peer(std::size_t number);
  void plan(std::size_t number, Plan plan) { plans_[number] = plan; }
  std::size_t attempts() const { return attempts_; }

 private:
  std::map<std::size_t, std::unique_ptr<Peer>> peers_;
  std::map<std::size_t, Plan> plans_;
  std::size_t attempts_ = 0;
};

class FakeScanner final : public judge::ScanClient {
 public:
  std::unique_ptr<judge::ScanJob> start(io::Spool& spool, io::Duration limit) override;

  // The report of the scan that waits, or of the next one.
  void report(scanner::Report report);
  void stay_silent() { planned_.emplace_back(std::nullopt); }     // the next scan waits for report()
  void forget_plans() { planned_.clear(); }                       // of scans that will not come
  const std::vector<std::string>& seen() const { return seen_; }  // content of each scan, without the prefix
  std::size_t open_jobs() const { return jobs_.size(); }
  unsigned overdue_calls() const { return overdue_; }
  bool planned() const { return !planned_.empty(); }

 private:
  class Job;
  std::deque<std::optional<scanner::Report>> planned_;
  std::vector<Job*> jobs_;
  std::vector<std::string> seen_;
  unsigned overdue_ = 0;
};

class FakeKeeper final : public judge::KeeperClient {
 public:
  std::unique_ptr<judge::KeeperJob> start(keeper::Request request, int fd) override;

  void answer(keeper::Answer::Status status);  // of the job that waits, or of the next one; without: kept
  void stay_silent() { planned_.emplace_back(std::nullopt); }
  // "lookup anna@example.net", "deliver from <a@b> to <c@d>,<e@f>", "recall 2", "remember 1", "forget 1"; taken in
  // order.
  std::deque<std::string> asked;
  std::string content;       // of the last deliver
  std::string extra_fields;  // of the last deliver
  std::string received;      // of the last deliver
  std::size_t open_jobs() const { return jobs_.size(); }
  std::size_t deliveries() const { return deliveries_; }  // asked for
  std::size_t kept() const { return kept_; }              // deliveries answered with kept
  unsigned overdue_calls() const { return overdue_; }

 private:
  class Job;
  std::deque<std::optional<keeper::Answer::Status>> planned_;
  std::vector<Job*> jobs_;
  std::string consult_journal(const keeper::Request& request);
  std::set<std::string> journal_;
  std::uint64_t last_id_ = 0;
  std::size_t deliveries_ = 0;
  std::size_t kept_ = 0;
  unsigned overdue_ = 0;
};

class FakeInFlight final : public session::InFlight {
 public:
  void* open(const session::Parcel& parcel, std::string_view downstream) override;
  void close(void* slot) override;
  std::size_t capacity = 1000;
  std::size_t open_slots() const { return slots_.size(); }
  std::size_t ever() const { return ever_; }

 private:
  std::vector<std::unique_ptr<int>> slots_;
  std::size_t ever_ = 0;
};

// The bytes behind `prefix` of a descriptor, read to its end.
std::string content_of(int fd, std::uint64_t prefix);

}  // namespace playbook
