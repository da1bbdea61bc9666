// Asks gatepost-scanner for a report. Every failure on the way becomes a report with an error finding: whoever asks
// always gets exactly one answer, or gives up at a deadline of its own.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/io/channel.h"
#include "proxy/io/spool.h"
#include "scanner/report.h"

namespace judge {

// One scan under way; destroying it cancels the scan.
class ScanJob {
 public:
  virtual ~ScanJob() = default;
  virtual std::optional<scanner::Report> report() = 0;  // nothing yet: wait for done()
  virtual io::Signal& done() = 0;
  virtual void overdue() = 0;  // the answer did not come in time
};

class ScanClient {
 public:
  virtual ~ScanClient() = default;
  // `spool` is finished and outlives the job; the worker is killed after `limit`.
  virtual std::unique_ptr<ScanJob> start(io::Spool& spool, io::Duration limit) = 0;
};

class ChannelScanClient final : public ScanClient {
 public:
  // `greeted` is called when a scanner says hello: it has its signatures and takes messages from here. `silent` when it
  // has said nothing at all for a whole scan, when its socket closes, and again with each message that finds no socket:
  // the first complaint may have come too early, or to nobody.
  ChannelScanClient(io::EventLoop& loop, std::string engine, std::function<void()> greeted,
                    std::function<void()> silent);
  void attach(scanner::OwnedFd socket);
  std::unique_ptr<ScanJob> start(io::Spool& spool, io::Duration limit) override;

 private:
  class Job;
  io::Channel channel_;
  std::string engine_;
  std::function<void()> silent_;
  bool greeted_ = false;       // by the scanner that is attached now: before its hello it only loads signatures
  std::uint64_t packets_ = 0;  // ever received
};

}  // namespace judge
