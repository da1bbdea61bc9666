#include "proxy/session/content.h"

#include <algorithm>

#include "proxy/judge/policy.h"

namespace session {

using io::Task;
namespace reply = protocol::reply;

namespace {

constexpr unsigned reads_per_turn = 16;  // of at most 64 KiB
constexpr io::Duration rate_grace = std::chrono::seconds(30);

protocol::Reply reply_for(io::SpoolError error) {
  if (error == io::SpoolError::full) return reply::make(452, "4.3.1", "Insufficient system storage, please try again later");
  return reply::make(451, "4.3.0", "Mail system failure, please try again later");
}

// Nothing is added or believed where nothing is scanned, so nothing is removed either.
std::string removed_field(const Services& services) {
  return services.scanner != nullptr ? std::string(judge::verdict_field) : std::string();
}

}  // namespace

ContentIntake::ContentIntake(Transaction& mail, const Services& services, const config::Listener& listener,
                             std::uint64_t size_limit)
    : mail_(mail), listener_(listener), size_limit_(size_limit), filter_(removed_field(services)) {
  mail_.spool.emplace(*services.spool);
}

bool ContentIntake::take(std::string_view& bytes) {
  const std::size_t before = bytes.size();
  const bool direct = !mail_.refusal && filter_.passthrough();
  const bool end = decoder_.feed(bytes, direct ? mail_.spool->pending() : decoded_);
  seen_ += before - bytes.size();
  if (!direct && !mail_.refusal) {
    filter_.feed(decoded_, mail_.spool->pending());
    if (end) filter_.finish(mail_.spool->pending());
  }
  decoded_.clear();
  mail_.counts = decoder_.counts();
  if (!mail_.refusal) store(end);
  if (end) {
    mail_.received_fields = filter_.received_fields();
    if (!mail_.refusal) refuse_by_content();
  }
  return end;
}

void ContentIntake::store(bool end) {
  if (size_limit_ != 0 && mail_.counts.octets > size_limit_)
    return refuse(reply::make(552, "5.3.4", "Message too big, the limit is " + std::to_string(size_limit_) + " octets"));
  const auto stored = end ? mail_.spool->finish() : mail_.spool->commit();
  if (!stored) refuse(reply_for(stored.error()));
}

void ContentIntake::refuse(protocol::Reply reply) {
  mail_.refusal = std::move(reply);
  mail_.spool.reset();  // its memory and its file are free at once
  std::string().swap(decoded_);
}

void ContentIntake::refuse_by_content() {
  if (listener_.nul == config::Nul::refuse && mail_.counts.nul != 0)
    mail_.refusal = reply::make(550, "5.6.0", "Message refused: its content holds NUL octets");
  if (listener_.line_ends == config::LineEnds::refuse && mail_.counts.bare_lf + mail_.counts.bare_cr != 0)
    mail_.refusal = reply::make(550, "5.5.2", "Message refused: lines must end in CRLF");
}

Task<ContentEnd> receive_content(Transaction& mail, const Services& services, const config::Listener& listener,
                                 std::uint64_t size_limit, ClientLeg& client, Downstream& downstream, io::Scope& scope) {
  ContentIntake intake(mail, services, listener, size_limit);
  const io::TimePoint begin = scope.now();
  unsigned reads = 0;
  io::TimePoint idle_until = begin + listener.data_idle_timeout;
  while (true) {
    std::string_view bytes;
    const io::IoStatus status = client.read_content(bytes);
    if (status == io::IoStatus::ok) {
      idle_until = scope.now() + listener.data_idle_timeout;
      if (intake.take(bytes)) {
        client.give_back(bytes);
        co_return ContentEnd::complete;
      }
    } else if (status != io::IoStatus::would_block) {
      co_return ContentEnd::client_gone;
    }
    const io::TimePoint now = scope.now();
    const io::TimePoint until = std::min(idle_until, begin + listener.data_timeout);
    const double seconds = std::chrono::duration<double>(now - begin).count();
    const bool dribbles = now - begin > rate_grace &&
                          static_cast<double>(intake.octets_seen()) < seconds * static_cast<double>(listener.min_data_rate);
    if (now >= until || dribbles) co_return ContentEnd::too_slow;
    if (status == io::IoStatus::ok) {
      // A client that sends faster than we read would keep the loop to itself.
      if (++reads % reads_per_turn == 0) co_await io::Yield(scope);
      continue;
    }
    const io::TimePoint wake = std::min(until, downstream.keep_alive(now));
    co_await io::Wait(scope, wake, client.readable(), downstream.stirred());
    downstream.look();
  }
}

}  // namespace session
