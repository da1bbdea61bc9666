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
  if (error == io::SpoolError::full)
    return reply::make(452, "4.3.1", "Insufficient system storage, please try again later");
  return reply::make(451, "4.3.0", "Mail system failure, please try again later");
}

// Nothing is added or believed where nothing is scanned or all is hidden, so nothing is removed either.
std::string removed_field(const Services& services, const config::Listener& listener) {
  return services.scanner != nullptr && !listener.hide ? std::string(judge::verdict_field) : std::string();
}

}  // namespace

bool Intake::take(std::string_view& bytes) {
  const std::size_t before = bytes.size();
  const bool end = decode(bytes);
  seen_ += before - bytes.size();
  return end;
}

bool DiscardedChunk::decode(std::string_view& bytes) { return reader_.feed(bytes, nothing_); }

ContentIntake::ContentIntake(Transaction& mail, const Services& services, const config::Listener& listener,
                             std::uint64_t size_limit, Form form)
    : mail_(mail),
      listener_(listener),
      size_limit_(size_limit),
      binary_(mail.envelope.mail.parameters.body == protocol::Body::binary_mime),
      filter_(removed_field(services, listener)) {
  if (form == Form::chunks)
    decoder_.emplace<protocol::ChunkReader>(binary_ ? protocol::ChunkContent::binary : protocol::ChunkContent::text);
  mail_.spool.emplace(*services.spool);
}

void ContentIntake::begin(const protocol::BdatCommand& chunk) {
  std::get<protocol::ChunkReader>(decoder_).begin(chunk);
}

bool ContentIntake::decode_to(std::string_view& bytes, std::string& out) {
  return std::visit([&](auto& decoder) { return decoder.feed(bytes, out); }, decoder_);
}

bool ContentIntake::is_whole() const {
  return std::visit([](const auto& decoder) { return decoder.finished(); }, decoder_);
}

const protocol::ContentCounts& ContentIntake::counts() const {
  return std::visit(
      [](const auto& decoder) -> const auto& { return decoder.counts(); }, decoder_);
}

bool ContentIntake::decode(std::string_view& bytes) {
  static thread_local std::string decoded;  // while the filter looks at it, or to be thrown away
  decoded.clear();
  const bool direct = !mail_.refusal && filter_.passthrough();
  const bool end = decode_to(bytes, direct ? mail_.spool->pending() : decoded);
  const bool whole = is_whole();
  if (!direct && !mail_.refusal) filter(decoded, whole);
  mail_.counts = counts();
  if (!mail_.refusal) store(whole);
  if (whole && !mail_.refusal) refuse_by_content();
  return end;
}

void ContentIntake::filter(std::string_view decoded, bool whole) {
  meter_.feed(decoded);
  filter_.feed(decoded, mail_.spool->pending());
  if (whole) filter_.finish(mail_.spool->pending());
  refuse_by_header();
}

void ContentIntake::store(bool whole) {
  if (size_limit_ != 0 && mail_.counts.octets > size_limit_)
    return refuse(
        reply::make(552, "5.3.4", "Message too big, the limit is " + std::to_string(size_limit_) + " octets"));
  const auto stored = whole ? mail_.spool->finish() : mail_.spool->commit();
  if (!stored) refuse(reply_for(stored.error()));
}

void ContentIntake::refuse(protocol::Reply reply) {
  mail_.refusal = std::move(reply);
  mail_.spool.reset();  // its memory and its file are free at once
  if (auto* const chunks = std::get_if<protocol::ChunkReader>(&decoder_)) chunks->discard();
}

void ContentIntake::refuse_by_header() {
  if (listener_.max_header != 0 && meter_.octets() > listener_.max_header)
    return refuse(reply::make(
        552, "5.3.4", "Header section too big, the limit is " + std::to_string(listener_.max_header) + " octets"));
  if (listener_.max_header_fields != 0 && meter_.fields() > listener_.max_header_fields)
    return refuse(reply::make(554, "5.6.0", "Too many header fields"));
  if (filter_.received_fields() >= listener_.max_received)
    refuse(reply::make(554, "5.4.6", "Too many hops: the message goes round in a loop"));
}

void ContentIntake::refuse_by_content() {
  if (listener_.nul == config::Nul::refuse && mail_.counts.nul != 0 && !binary_)
    mail_.refusal = reply::make(550, "5.6.0", "Message refused: its content holds NUL octets");
  if (listener_.line_ends == config::LineEnds::refuse && mail_.counts.bare_lf + mail_.counts.bare_cr != 0)
    mail_.refusal = reply::make(550, "5.5.2", "Message refused: lines must end in CRLF");
}

Task<ContentEnd> receive_content(Intake& intake, io::TimePoint begin, const config::Listener& listener,
                                 ClientLeg& client, Downstream& downstream, io::Scope& scope) {
  std::string_view bytes;
  if (intake.take(bytes)) co_return ContentEnd::complete;  // a chunk of no octets
  unsigned reads = 0;
  const io::TimePoint started = scope.now();
  const std::uint64_t before = intake.octets_seen();
  io::TimePoint idle_until = scope.now() + listener.data_idle_timeout;
  while (true) {
    const io::IoStatus status = client.read_content(bytes);
    if (status == io::IoStatus::ok) {
      idle_until = scope.now() + listener.data_idle_timeout;
      const bool end = intake.take(bytes);
      client.give_back(bytes);
      if (end) co_return ContentEnd::complete;
    } else if (status != io::IoStatus::would_block) {
      co_return ContentEnd::client_gone;
    }
    const io::TimePoint now = scope.now();
    const io::TimePoint until = std::min(idle_until, begin + listener.data_timeout);
    // Of this piece: the time between two chunks is the client's to take (command_timeout).
    const double seconds = std::chrono::duration<double>(now - started).count();
    const bool dribbles = now - started > rate_grace && static_cast<double>(intake.octets_seen() - before) <
                                                            seconds * static_cast<double>(listener.min_data_rate);
    if (now >= until || dribbles) co_return ContentEnd::too_slow;
    if (status == io::IoStatus::ok) {
      // A client that sends faster than we read would keep the loop to itself.
      if (++reads % reads_per_turn == 0) co_await io::Yield(scope);
      continue;
    }
    if (client.queued() != 0) {  // before a chunk: a client may wait for these before it sends on
      const bool told = co_await client.flush(until);
      if (!told) co_return ContentEnd::client_gone;
      continue;
    }
    const io::TimePoint wake = std::min(until, downstream.keep_alive(now));
    co_await io::Wait(scope, wake, client.readable(), downstream.stirred());
    downstream.look();
  }
}

}  // namespace session
