#include "proxy/judge/keeper_client.h"

namespace judge {

using keeper::Answer;

io::Task<Answer> answer_of(KeeperJob& job, io::Scope& scope, io::TimePoint until) {
  while (true) {
    std::optional<Answer> answer = job.answer();
    if (answer) co_return std::move(*answer);
    const io::Woken woken = co_await io::Wait(scope, until, job.done());
    if (woken == io::Woken::deadline) break;
  }
  job.overdue();
  Answer late;
  late.detail = "the keeper does not answer";
  co_return late;
}

class ChannelKeeperClient::Job final : public KeeperJob {
 public:
  Job(ChannelKeeperClient& client, std::unique_ptr<io::Channel::Call> call)
      : client_(client), packets_at_start_(client.packets_), call_(std::move(call)) {}
  std::optional<Answer> answer() override {
    if (!call_->finished()) return std::nullopt;
    Answer answer;
    if (!call_->sent()) {
      answer.id = call_->id();
      answer.detail = "the keeper could not be asked";
      return answer;
    }
    answer.detail = "the keeper went away";
    if (call_->lost()) return answer;
    if (auto decoded = keeper::decode_answer(*call_->answer())) return std::move(*decoded);
    answer.detail = "the keeper's answer was not understood";
    return answer;
  }
  io::Signal& done() override { return call_->answered; }
  void overdue() override {
    if (client_.packets_ == packets_at_start_) client_.silent_();
  }

 private:
  ChannelKeeperClient& client_;
  std::uint64_t packets_at_start_;
  std::unique_ptr<io::Channel::Call> call_;
};

ChannelKeeperClient::ChannelKeeperClient(io::EventLoop& loop, std::function<void()> silent)
    : channel_(
          loop,
          [this](std::string_view packet) -> std::optional<std::uint64_t> {
            ++packets_;
            const auto answer = keeper::decode_answer(packet);
            if (!answer) return std::nullopt;
            return answer->id;
          },
          [](std::string_view) {}, [this] { silent_(); }),
      silent_(std::move(silent)) {}

std::unique_ptr<KeeperJob> ChannelKeeperClient::start(keeper::Request request, int fd) {
  if (!channel_.attached()) silent_();
  request.id = channel_.next_id();
  return std::make_unique<Job>(*this, channel_.call(request.id, encode(request), fd));
}

}  // namespace judge
