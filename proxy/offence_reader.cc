#include "proxy/offence_reader.h"

#include <fmt/format.h>

#include <utility>

#include "proxy/supervisor/control.h"

namespace {

constexpr int most_at_once = 64;
constexpr std::chrono::seconds between_lines{10};

}  // namespace

void OffenceReader::read(io::TimePoint now) {
  std::string packet;
  scanner::OwnedFd fd;
  for (int i = 0; i < most_at_once; ++i) {
    if (scanner::receive_packet(from_loops_, packet, fd) != scanner::PacketStatus::ok) break;
    const auto message = supervisor::decode(packet);
    const auto request = message ? ban_request_in(*message, *config_) : std::nullopt;
    if (request && offences_.add(*request, now)) pass_on(*request);
  }
  tell_dropped(now);
}

void OffenceReader::flush(io::TimePoint now) {
  unsent_.flush(control_);
  tell_dropped(now);
}

// The client is counted anew by now: a request that went away without a word would be a ban that nobody misses.
void OffenceReader::pass_on(const supervisor::BanRequest& request) {
  if (unsent_.size() < most_waiting) unsent_.send(control_, encode(message_of(request)));
  else ++dropped_;
}

void OffenceReader::tell_dropped(io::TimePoint now) {
  if (dropped_ == 0 || (told_dropped_ != io::TimePoint{} && now - told_dropped_ < between_lines)) return;
  told_dropped_ = now;
  log_.say(0, admin::Level::error,
           fmt::format("{} clients are not banned: the supervisor reads no more requests",
                       std::exchange(dropped_, 0)));
}
