#include "proxy/judge/scan_client.h"

#include "scanner/job.h"

namespace judge {

using scanner::Failure;
using scanner::Report;

class ChannelScanClient::Job final : public ScanJob {
 public:
  Job(ChannelScanClient& client, std::unique_ptr<io::Channel::Call> call)
      : client_(client), packets_at_start_(client.packets_), call_(std::move(call)) {}
  Job(ChannelScanClient& client, Report failed)
      : client_(client), packets_at_start_(client.packets_), report_(std::move(failed)) {}
  ~Job() override {
    if (!call_ || call_->finished()) return;
    scanner::Request cancel;
    cancel.kind = scanner::Request::Kind::cancel;
    cancel.id = call_->id();
    client_.channel_.send(encode(cancel));
  }
  std::optional<Report> report() override {
    if (report_ || !call_ || !call_->finished()) return report_;
    if (call_->lost()) {
      report_ = scanner::failed(call_->id(), Failure::disconnected, "the scanner went away");
    } else if (auto decoded = scanner::decode_report(*call_->answer())) {
      report_ = std::move(*decoded);
    } else {
      report_ = scanner::failed(call_->id(), Failure::engine, decoded.error());
    }
    for (scanner::Finding& finding : report_->findings)
      if (finding.engine.empty()) finding.engine = client_.engine_;
    return report_;
  }
  io::Signal& done() override { return call_ ? call_->answered : never_; }
  void overdue() override {
    if (client_.packets_ == packets_at_start_) client_.silent_();
  }

 private:
  ChannelScanClient& client_;
  std::uint64_t packets_at_start_;
  std::unique_ptr<io::Channel::Call> call_;
  std::optional<Report> report_;
  io::Signal never_;
};

ChannelScanClient::ChannelScanClient(io::EventLoop& loop, std::string engine, std::function<void()> greeted,
                                     std::function<void()> silent)
    : channel_(
          loop,
          [this](std::string_view packet) -> std::optional<std::uint64_t> {
            ++packets_;
            if (scanner::is_hello(packet)) return std::nullopt;
            const auto report = scanner::decode_report(packet);
            if (!report) return std::nullopt;
            return report->id;
          },
          [this, greeted = std::move(greeted)](std::string_view packet) {
            if (!scanner::is_hello(packet)) return;
            greeted_ = true;
            greeted();
          },
          [this] { silent_(); }),
      engine_(std::move(engine)),
      silent_(std::move(silent)) {}

void ChannelScanClient::attach(scanner::OwnedFd socket) {
  greeted_ = false;
  channel_.attach(std::move(socket));
}

std::unique_ptr<ScanJob> ChannelScanClient::start(io::Spool& spool, io::Duration limit) {
  scanner::Request request;
  request.id = channel_.next_id();
  request.prefix = spool.prefix_size();
  request.size = spool.size();
  request.limit_ms = static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count());
  const auto failed = [this, &request](Failure failure, std::string_view detail) {
    return std::make_unique<Job>(*this, scanner::failed(request.id, failure, detail));
  };
  if (!channel_.attached()) silent_();
  if (!channel_.attached() || !greeted_) return failed(Failure::not_ready, "the scanner is not running yet");
  if (spool.in_memory() && request.prefix + request.size <= scanner::max_inline) {
    auto call = channel_.call(request.id, encode_inline(request, spool.prefix(), spool.memory()), -1);
    if (!call->lost()) return std::make_unique<Job>(*this, std::move(call));
    // A socket that is too full for the octets may still have room for a descriptor.
  }
  const auto fd = spool.shared_descriptor();
  if (!fd) return failed(Failure::storage, to_string(fd.error()));
  auto call = channel_.call(request.id, encode(request), *fd);
  if (call->lost() && channel_.last_send_was_full()) return failed(Failure::busy, "the scanner's queue is full");
  return std::make_unique<Job>(*this, std::move(call));
}

}  // namespace judge
