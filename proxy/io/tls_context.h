// What all TLS connections of one listener, or towards one downstream, have in common: certificates, keys, what is
// accepted. Immutable and shared by all loops; a reload makes new ones, and connections keep theirs.
//
// Both kinds: TLS 1.2 or newer, no compression, no renegotiation, no early data. A FIN without close_notify is an error
// (SSL_OP_IGNORE_UNEXPECTED_EOF is off): the octets may have been cut, so it never counts as the end of anything.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "proxy/io/tls_files.h"
#include "proxy/io/tls_meant.h"

struct ssl_st;

namespace io {

class TicketKeys;

class TlsServerContext {
 public:
  // nullptr if anything is wrong; all of it is added to `problems`, with pointers relative to the listener's "tls", and
  // warnings in any case (expired, not valid yet). `tickets` may be those of the former context of this listener: a
  // ticket is taken only where the demands on client certificates are those under which it was given.
  static std::shared_ptr<const TlsServerContext> make(const config::ListenerTls& settings, std::string_view listener,
                                                      const TlsFiles& files, std::shared_ptr<TicketKeys> tickets,
                                                      std::vector<TlsProblem>& problems);
  ~TlsServerContext();
  TlsServerContext(const TlsServerContext&) = delete;
  TlsServerContext& operator=(const TlsServerContext&) = delete;

  // The caller's; nullptr: no memory. With makes_certificates() its application data must be openssl::ConnectionNotes.
  ssl_st* new_connection(const TlsMeant& meant) const;
  bool makes_certificates() const;
  const std::shared_ptr<TicketKeys>& tickets() const;

  struct Parts;  // tls_server_context.cc
  explicit TlsServerContext(std::unique_ptr<Parts> parts);

 private:
  std::unique_ptr<Parts> parts_;
};

class TlsClientContext {
 public:
  // As above, relative to the downstream's "tls".
  static std::shared_ptr<const TlsClientContext> make(const config::DownstreamTls& settings, const TlsFiles& files,
                                                      std::vector<TlsProblem>& problems);
  ~TlsClientContext();
  TlsClientContext(const TlsClientContext&) = delete;
  TlsClientContext& operator=(const TlsClientContext&) = delete;

  // The name for SNI and for the certificate: the settings' or `host` (a name, or an address as text without brackets).
  std::string name_for(std::string_view host) const;
  // For a server of that name; asks to resume the last session with `session_key` if there is one.
  ssl_st* new_connection(const std::string& name, const std::string& session_key) const;

  struct Parts;  // tls_client_context.cc
  explicit TlsClientContext(std::unique_ptr<Parts> parts);

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace io
