// TLS over another Stream (RFC 8446, RFC 5246; for SMTP RFC 3207 and 8314): a Stream itself once the handshake is done.
//
// OpenSSL reads and writes the lower stream directly, so nothing is kept beside it: no octet that was read before the
// handshake can turn up behind it. Whoever upgrades a leg makes sure that its own buffers (lines, half a reply) are
// empty and ends the session otherwise; what the kernel still holds is taken for TLS, and is an error if it is not.
//
// The end: `closed` only after close_notify. A FIN without it is `reset`, for octets may be missing. Destroying an open
// stream sends close_notify, if that goes without waiting and abort_on_close() was not called.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/io/stream.h"
#include "proxy/io/tls_context.h"
#include "proxy/io/tls_facts.h"

namespace io {

class TlsStream final : public Stream {
 public:
  using Handshake = std::expected<TlsFacts, TlsFailure>;

  // As server. Throws std::bad_alloc, and `lower` is closed.
  TlsStream(std::unique_ptr<Stream> lower, std::shared_ptr<const TlsServerContext> context, TlsMeant meant = {});
  // As client of `host`: the host part of the server's name or address as the config has it. Sessions are resumed with
  // the same host and peer() alone.
  TlsStream(std::unique_ptr<Stream> lower, std::shared_ptr<const TlsClientContext> context, std::string_view host);
  ~TlsStream() override;

  // Once, before anything else. After a failure the peer has been told by an alert where that was possible, and the
  // stream is good for nothing but destruction. Stopping or destroying the task leaves it so, too.
  Task<Handshake> handshake(Scope& scope, TimePoint until);

  IoResult read(char* into, std::size_t room) override;
  void look_again() override { lower_->look_again(); }
  IoResult write(const iovec* parts, int count) override;
  void last_words() override { lower_->last_words(); }
  IoResult send_file(int fd, off_t offset, std::size_t count) override;
  void abort_on_close() override;
  std::string peer() const override { return lower_->peer(); }
  void shutdown_write() override;  // close_notify, then the lower stream's

  // Why the last `reset` came: "closed without close_notify", "peer sent alert: unknown ca". Empty: the lower stream's.
  const std::string& why() const { return why_; }
  Stream& lower() { return *lower_; }

 private:
  enum class Step { done, want_read, want_write, failed };
  class LowerBio;  // OpenSSL's view of lower_
  struct Notes;

  TlsStream(std::unique_ptr<Stream>&& lower, ssl_st* connection, std::shared_ptr<const void> context);
  Step try_handshake();
  Step step_of(int result);
  Step after(int result);
  void fail(TlsFailure::Kind kind, std::string why);
  TlsFacts facts() const;
  void cross_signals();
  void say_goodbye();

  std::unique_ptr<Stream> lower_;
  std::shared_ptr<const void> context_;  // keeps what OpenSSL's callbacks use
  std::unique_ptr<Notes> notes_;         // of a client, and of a server that makes certificates
  ssl_st* connection_;
  std::string why_;
  std::size_t taken_ = 0;                 // octets from the lower stream in this call, or in the whole handshake
  std::size_t pending_ = 0;               // octets of a write that OpenSSL holds encrypted and could not send yet
  IoStatus lower_status_ = IoStatus::ok;  // what the lower stream said last, would_block excepted
  TlsFailure::Kind failure_ = TlsFailure::Kind::protocol;
  bool established_ = false;
  bool failed_ = false;
  bool aborted_ = false;
  bool read_ended_ = false;   // close_notify has come
  bool write_ended_ = false;  // ours has gone
};

}  // namespace io
