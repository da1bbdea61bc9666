#include "test/bench/tls_leg.h"

#include <openssl/err.h>
#include <cerrno>
#include <csignal>
#include <new>
#include <stdexcept>

namespace bench {
namespace {

// OpenSSL's contract: 1 = the session is ours now.
int on_ticket(SSL* connection, SSL_SESSION* session) {
  static_cast<TlsLeg*>(SSL_get_ex_data(connection, 0))->keep(session);
  return 1;
}

}  // namespace

TlsSettings::TlsSettings(bool resumes) : resume(resumes), context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX* const raw = context_.get();
  char group[] = "X25519";
  if (raw == nullptr || SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(raw, "TLS_AES_256_GCM_SHA384") != 1 ||
      SSL_CTX_ctrl(raw, SSL_CTRL_SET_GROUPS_LIST, 0, group) != 1)  // SSL_CTX_set1_groups_list has an old cast
    throw std::runtime_error("OpenSSL offers no TLS 1.3 with AES-256-GCM and X25519");
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(raw, on_ticket);
  std::signal(SIGPIPE, SIG_IGN);
}

SSL* TlsSettings::new_connection() const {
  SSL* const connection = SSL_new(context_.get());
  if (connection == nullptr) throw std::bad_alloc();
  return connection;
}

void TlsLeg::begin(int fd) {
  connection_.reset(settings_.new_connection());
  established_ = failed_ = false;
  why_.clear();
  SSL_set_ex_data(connection_.get(), 0, this);
  if (SSL_set_fd(connection_.get(), fd) != 1) throw std::bad_alloc();
  SSL_set_connect_state(connection_.get());
  if (settings_.resume && session_) SSL_set_session(connection_.get(), session_.get());
}

void TlsLeg::end() {
  ERR_clear_error();
  if (connection_ && established_ && !failed_) SSL_shutdown(connection_.get());
  connection_.reset();
}

ssize_t TlsLeg::send(const void* octets, std::size_t count) {
  ERR_clear_error();
  std::size_t sent = 0;
  const int result = SSL_write_ex(connection_.get(), octets, count, &sent);
  return after(result, sent);
}

ssize_t TlsLeg::recv(void* into, std::size_t room) {
  ERR_clear_error();
  std::size_t got = 0;
  const int result = SSL_read_ex(connection_.get(), into, room, &got);
  if (!established_ && SSL_is_init_finished(connection_.get()) == 1) count_handshake();
  return after(result, got);
}

void TlsLeg::count_handshake() {
  established_ = true;
  ++settings_.handshakes;
  settings_.resumed += SSL_session_reused(connection_.get()) == 1 ? 1 : 0;
}

void TlsLeg::keep(SSL_SESSION* session) {
  ++settings_.tickets;
  session_.reset(session);
}

// A socket that was just opened has room for a flight of the handshake, and nobody here updates keys: what OpenSSL
// waits for is always what the caller asked for.
ssize_t TlsLeg::after(int result, std::size_t count) {
  if (result == 1) return static_cast<ssize_t>(count);
  const int error = errno;
  switch (SSL_get_error(connection_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_SYSCALL:
      failed_ = true;
      errno = error == 0 ? ECONNRESET : error;
      return -1;
    default:
      failed_ = true;
      const char* reason = ERR_reason_error_string(ERR_peek_error());
      why_ = reason == nullptr ? "TLS failed" : reason;
      errno = EPROTO;
      return -1;
  }
}

}  // namespace bench
