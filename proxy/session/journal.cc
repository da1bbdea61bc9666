#include "proxy/session/journal.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "protocol/packet.h"
#include "proxy/io/digest.h"

namespace session {

using io::Task;
using Kind = keeper::Request::Kind;

namespace {

constexpr std::size_t piece = 65536;  // octets hashed before others get their turn
constexpr io::Duration forget_patience = std::chrono::seconds(10), forget_pause = std::chrono::milliseconds(500);
constexpr std::size_t at_once = keeper::max_keys * keeper::key_octets;

keeper::Request request_of(Kind kind, std::string_view keys) {
  keeper::Request request;
  request.kind = kind;
  request.keys = keys;
  return request;
}

}  // namespace

Task<std::string> Journal::content_digest() {
  io::Sha256 digest;
  const io::Spool& spool = parcel_.spool;
  std::string space;
  for (std::uint64_t done = 0; done < spool.size();) {
    std::string_view octets;
    if (spool.in_memory()) {
      octets = spool.memory().substr(done, piece);
    } else {
      space.resize(std::min<std::uint64_t>(piece, spool.size() - done));
      const ssize_t got =
          ::pread(spool.file(), space.data(), space.size(), static_cast<off_t>(spool.file_offset() + done));
      if (got <= 0) throw std::runtime_error("the spool cannot be read");
      octets = std::string_view(space).substr(0, static_cast<std::size_t>(got));
    }
    digest.feed(octets);
    done += octets.size();
    if (done < spool.size()) co_await io::Yield(scope_);
  }
  co_return digest.finish();
}

Task<std::optional<std::string>> Journal::ask(Kind kind, std::string keys, io::TimePoint until) {
  std::string known;
  for (std::size_t done = 0; done < keys.size(); done += at_once) {
    const std::string_view some = std::string_view(keys).substr(done, at_once);
    const auto job = services_.keeper->start(request_of(kind, some), -1);
    const keeper::Answer answer = co_await judge::answer_of(*job, scope_, until);
    if (answer.status != keeper::Answer::Status::kept) co_return std::nullopt;
    if (kind == Kind::recall && answer.known.size() != some.size() / keeper::key_octets) co_return std::nullopt;
    known += answer.known;
  }
  co_return known;
}

Task<std::optional<std::string>> Journal::recall(std::string downstream, io::TimePoint until) {
  const std::string content = co_await content_digest();
  const protocol::Envelope& envelope = parcel_.envelope;
  const std::string sender = envelope.mail.reverse_path ? format(*envelope.mail.reverse_path) : std::string();
  for (const protocol::RcptCommand& recipient : envelope.recipients) {
    protocol::PacketWriter parts;
    parts.text(downstream).text(sender).text(content).text(format_path(recipient.forward_path));
    io::Sha256 key;
    key.feed(parts.bytes());
    keys_ += key.finish();
  }
  std::optional<std::string> known = co_await ask(Kind::recall, keys_, until);
  co_return known;
}

std::string Journal::keys_of(std::string_view which) const {
  std::string keys;
  for (std::size_t i = 0; i < which.size(); ++i)
    if (which[i] == '1') keys.append(keys_, i * keeper::key_octets, keeper::key_octets);
  return keys;
}

Task<bool> Journal::remember(std::string which, io::TimePoint until) {
  const std::optional<std::string> done = co_await ask(Kind::remember, keys_of(which), until);
  co_return done.has_value();
}

Task<bool> forget(const Services& services, std::string keys, io::Scope& scope) {
  const io::TimePoint until = scope.now() + forget_patience;
  for (std::size_t done = 0; done < keys.size();) {
    const auto job = services.keeper->start(request_of(Kind::forget, std::string_view(keys).substr(done, at_once)), -1);
    const keeper::Answer answer = co_await judge::answer_of(*job, scope, until);
    if (answer.status == keeper::Answer::Status::kept) {
      done += at_once;
      continue;
    }
    if (scope.now() >= until) co_return false;
    co_await io::Wait(scope, std::min(until, scope.now() + forget_pause));
  }
  co_return true;
}

}  // namespace session
