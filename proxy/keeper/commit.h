// Group commit: all jobs of a batch are written, fsynced, renamed and their directories fsynced once, then answered.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "proxy/keeper/copy.h"
#include "proxy/keeper/maildir.h"
#include "proxy/keeper/request.h"
#include "scanner/packet_socket.h"

namespace keeper {

struct Job {
  Request request;
  scanner::OwnedFd content;
};

class Committer {
 public:
  explicit Committer(std::string_view host) : names_(host) {}

  // One answer per job, in their order. A job is kept whole or not at all: when one copy fails, the job's other copies
  // are taken away before the answer. `between` is called after each fsync, which may take long.
  std::vector<Answer> deliver(const std::vector<Job>& jobs, const std::function<void()>& between);

  static Answer look_up(const Request& request);

 private:
  void sweep_once(const std::string& mailbox);
  UniqueNames names_;
  std::set<std::string> swept_;  // mailboxes whose tmp/ was looked at since the start (or since the set was full)
  DirectorySyncs syncs_;
  friend class Batch;
};

}  // namespace keeper
