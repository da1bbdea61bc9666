#include "proxy/judge/keeper_client.h"

namespace judge {

using keeper::Answer;

class ChannelKeeperClient::Job final : public KeeperJob {
 public:
  explicit Job(std::unique_ptr<io::Channel::Call> call) : call_(std::move(call)) {}
  std::optional<Answer> answer() override {
    if (!call_->finished()) return std::nullopt;
    Answer answer;
    answer.detail = "the keeper went away";
    if (call_->lost()) return answer;
    if (auto decoded = keeper::decode_answer(*call_->answer())) return std::move(*decoded);
    answer.detail = "the keeper's answer was not understood";
    return answer;
  }
  io::Signal& done() override { return call_->answered; }

 private:
  std::unique_ptr<io::Channel::Call> call_;
};

ChannelKeeperClient::ChannelKeeperClient(io::EventLoop& loop)
    : channel_(
          loop,
          [](std::string_view packet) -> std::optional<std::uint64_t> {
            const auto answer = keeper::decode_answer(packet);
            if (!answer) return std::nullopt;
            return answer->id;
          },
          [](std::string_view) {}) {}

std::unique_ptr<KeeperJob> ChannelKeeperClient::start(keeper::Request request, int fd) {
  request.id = channel_.next_id();
  return std::make_unique<Job>(channel_.call(request.id, encode(request), fd));
}

}  // namespace judge
