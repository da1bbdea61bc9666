// TLS of one client of the load generator: from the first octet (RFC 8314), over the client's non-blocking socket.
// Version, cipher and group are fixed (TLS 1.3, AES-256-GCM, X25519), so that every server agrees to the same.
// Certificates are not verified.
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace bench {

struct Freeing {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* connection) const { SSL_free(connection); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};

// Shared by all clients, outlives them. From its making on, SIGPIPE is ignored: OpenSSL writes with write(2).
class TlsSettings {
 public:
  explicit TlsSettings(bool resume);  // std::runtime_error when OpenSSL cannot do it

  const bool resume;  // each handshake of a client resumes what its last ticket is for; otherwise all are full
  std::uint64_t handshakes = 0, resumed = 0, tickets = 0;  // counted by the legs
  SSL* new_connection() const;                             // never null

 private:
  std::unique_ptr<SSL_CTX, Freeing> context_;
};

// send() and recv() as send(2) and recv(2), EAGAIN included; a connection has to be begun first. The server speaks
// first in SMTP: it is recv() that shakes hands.
class TlsLeg {
 public:
  explicit TlsLeg(TlsSettings& settings) : settings_(settings) {}
  TlsLeg(const TlsLeg&) = delete;

  void begin(int fd);
  void end();  // close_notify, not waited for; the descriptor stays open
  ssize_t send(const void* octets, std::size_t count);
  ssize_t recv(void* into, std::size_t room);          // one record at most; 0: close_notify
  const std::string& failure() const { return why_; }  // of OpenSSL, behind a -1 with EPROTO

  void keep(SSL_SESSION* session);  // from OpenSSL: a ticket came

 private:
  ssize_t after(int result, std::size_t count);
  void count_handshake();

  TlsSettings& settings_;
  std::unique_ptr<SSL, Freeing> connection_;
  std::unique_ptr<SSL_SESSION, Freeing> session_;  // to be resumed
  bool established_ = false, failed_ = false;
  std::string why_;
};

}  // namespace bench
