// Asks the keeper to look up or to deliver. A keeper that is gone or silent is an answer too: failed (451 4.3.0).
#pragma once

#include <memory>
#include <optional>

#include "proxy/io/channel.h"
#include "proxy/keeper/request.h"

namespace judge {

class KeeperJob {
 public:
  virtual ~KeeperJob() = default;
  virtual std::optional<keeper::Answer> answer() = 0;  // nothing yet: wait for done()
  virtual io::Signal& done() = 0;
};

class KeeperClient {
 public:
  virtual ~KeeperClient() = default;
  // request.id is filled in here. `fd` is the content (deliver), or -1.
  virtual std::unique_ptr<KeeperJob> start(keeper::Request request, int fd) = 0;
};

class ChannelKeeperClient final : public KeeperClient {
 public:
  explicit ChannelKeeperClient(io::EventLoop& loop);
  void attach(scanner::OwnedFd socket) { channel_.attach(std::move(socket)); }
  std::unique_ptr<KeeperJob> start(keeper::Request request, int fd) override;

 private:
  class Job;
  io::Channel channel_;
};

}  // namespace judge
