// Asks the keeper to look up, to deliver, or to consult its journal. A keeper that is gone or silent is an answer too: failed (451 4.3.0); with
// id 0 when the keeper has the request and may have carried it out all the same.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "proxy/io/channel.h"
#include "proxy/io/task.h"
#include "proxy/keeper/request.h"

namespace judge {

class KeeperJob {
 public:
  virtual ~KeeperJob() = default;
  virtual std::optional<keeper::Answer> answer() = 0;  // nothing yet: wait for done()
  virtual io::Signal& done() = 0;
  virtual void overdue() = 0;  // the answer did not come in time
};

class KeeperClient {
 public:
  virtual ~KeeperClient() = default;
  // request.id is filled in here. `fd` is the content (deliver), or -1.
  virtual std::unique_ptr<KeeperJob> start(keeper::Request request, int fd) = 0;
};

// Failed, with id 0, when it has not come until then.
io::Task<keeper::Answer> answer_of(KeeperJob& job, io::Scope& scope, io::TimePoint until);

class ChannelKeeperClient final : public KeeperClient {
 public:
  // `silent` is called when the keeper has said nothing at all since a job that is overdue began, when its socket
  // closes, and again with each job that finds no socket: the first complaint may have come too early, or to nobody.
  ChannelKeeperClient(io::EventLoop& loop, std::function<void()> silent);
  void attach(scanner::OwnedFd socket) { channel_.attach(std::move(socket)); }
  std::unique_ptr<KeeperJob> start(keeper::Request request, int fd) override;

 private:
  class Job;
  io::Channel channel_;
  std::function<void()> silent_;
  std::uint64_t packets_ = 0;  // ever received
};

}  // namespace judge
