// Two TlsStreams over memory with a hand on the wire between them, under a clock that stands still.
#pragma once

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/io/tls_contexts.h"
#include "proxy/io/tls_stream.h"
#include "proxy/io/tls_tickets.h"
#include "test/playbooks/memory_stream.h"
#include "test/playbooks/test_loop.h"
#include "test/unit/io_tls_certificates.h"

namespace io_test {

using ServerContext = std::shared_ptr<const io::TlsServerContext>;
using ClientContext = std::shared_ptr<const io::TlsClientContext>;

inline const Authority& authority() {
  static const Authority one("Test Authority");
  return one;
}

// A listener's settings whose files exist in memory alone.
struct Listener {
  config::ListenerTls settings;
  io::TlsFiles files;
  std::vector<io::TlsProblem> problems;

  Listener() { settings.mode = config::ListenerTlsMode::starttls; }
  explicit Listener(const Pem& pem) : Listener() { add(pem); }
  explicit Listener(const std::string& name) : Listener(authority().issue(name)) {}
  Listener& add(const Pem& pem) {
    const std::string at = "/" + std::to_string(settings.certificates.size());
    files.put(at + ".pem", pem.certificate);
    files.put(at + ".key", pem.key);
    settings.certificates.push_back({at + ".pem", at + ".key", {}});
    return *this;
  }
  Listener& ask(config::ClientCertificates how, const std::string& authorities = authority().pem()) {
    settings.client_certificates = how;
    settings.client_ca = "/ca";
    files.put("/ca", authorities);
    return *this;
  }
  // Certificates that somebody gets who means one of these servers.
  Listener& add_for(const Pem& pem, std::vector<std::string> destinations) {
    add(pem);
    for (const std::string& each : destinations)
      settings.certificates.back().destinations.push_back(config::parse_netmask(each).value());
    return *this;
  }
  Listener& sign_by(const Pem& authority) {
    settings.local_ca = {"/local.pem", "/local.key"};
    files.put("/local.pem", authority.certificate);
    files.put("/local.key", authority.key);
    return *this;
  }
  ServerContext make(std::string_view name = "in", std::shared_ptr<io::TicketKeys> tickets = nullptr) {
    return io::TlsServerContext::make(settings, name, files, std::move(tickets), problems);
  }
};

struct Downstream {
  config::DownstreamTls settings;
  io::TlsFiles files;
  std::vector<io::TlsProblem> problems;

  explicit Downstream(config::DownstreamTlsMode mode = config::DownstreamTlsMode::required) { settings.mode = mode; }
  static Downstream verified(const std::string& authorities = authority().pem()) {
    Downstream made(config::DownstreamTlsMode::verified);
    made.settings.ca = "/ca";
    made.files.put("/ca", authorities);
    return made;
  }
  static Downstream pinned(const std::string& fingerprint) {
    Downstream made(config::DownstreamTlsMode::verified);
    made.settings.fingerprints = {fingerprint};
    return made;
  }
  Downstream& show(const Pem& pem) {
    settings.certificate = "/own.pem";
    settings.key = "/own.key";
    files.put("/own.pem", pem.certificate);
    files.put("/own.key", pem.key);
    return *this;
  }
  ClientContext make() { return io::TlsClientContext::make(settings, files, problems); }
};

// A ClientHello of that version alone, as an old client would send it.
inline std::string old_hello(int version, const char* name = nullptr) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_min_proto_version(context, version);
  SSL_CTX_set_max_proto_version(context, version);
  SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
  SSL* connection = SSL_new(context);
  if (name != nullptr)  // SSL_set_tlsext_host_name, which is a macro with an old cast
    SSL_ctrl(connection, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name));
  SSL_set_bio(connection, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_connect(connection);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(SSL_get_wbio(connection), &bytes);
  std::string hello(bytes, static_cast<std::size_t>(size));
  SSL_free(connection);
  SSL_CTX_free(context);
  return hello;
}

// One of the two ends, and what its handshake gave.
struct End {
  playbook::Peer peer;  // of the wire
  std::unique_ptr<io::TlsStream> stream;
  std::optional<io::TlsStream::Handshake> outcome;

  bool open() const { return outcome && outcome->has_value(); }
  const io::TlsFacts& facts() const { return outcome->value(); }
  const io::TlsFailure& failure() const { return outcome->error(); }
};

class Wire {
 public:
  // Without a context an end is the test itself: it uses `peer`.
  Wire(ServerContext server_context, ClientContext client_context, std::string_view host = "mx.example.org",
       io::TlsMeant meant = {})
      : scope(loop) {
    if (server_context)
      server.stream = std::make_unique<io::TlsStream>(server.peer.connect("c:1"), server_context, std::move(meant));
    if (client_context)
      client.stream = std::make_unique<io::TlsStream>(client.peer.connect("s:25"), client_context, host);
  }
  ~Wire() { loop.destroy_roots(); }

  // Begins the handshakes of the ends that are there.
  void begin(io::TimePoint until = io::never) {
    for (End* end : {&server, &client})
      if (end->stream) loop.spawn(shake(*end, until));
    loop.settle();
  }
  // Carries at most `octets` each way at once, until nobody sends any more.
  void carry(std::size_t octets = playbook::Peer::unlimited) {
    while (carry_once(octets)) continue;
  }
  bool carry_once(std::size_t octets) {
    const std::string to_server = client.peer.take(octets), to_client = server.peer.take(octets);
    carried += to_server.size() + to_client.size();
    server.peer.send(to_server);
    client.peer.send(to_client);
    loop.settle();
    return !to_server.empty() || !to_client.empty();
  }
  Wire& shake_hands(std::size_t octets = playbook::Peer::unlimited) {
    begin();
    carry(octets);
    return *this;
  }

  playbook::TestLoop loop;
  io::Scope scope;
  End server, client;
  std::size_t carried = 0;

 private:
  io::Task<> shake(End& end, io::TimePoint until) {
    io::TlsStream::Handshake outcome = co_await end.stream->handshake(scope, until);
    end.outcome.emplace(std::move(outcome));
  }
};

// What can be read now, and how it ends.
struct Reading {
  std::string text;
  io::IoStatus end = io::IoStatus::ok;
};
inline Reading read_now(io::TlsStream& stream, std::size_t room = 65536) {
  Reading all;
  std::vector<char> space(room);
  for (;;) {
    const io::IoResult got = stream.read(space.data(), room);
    if (got.status != io::IoStatus::ok) {
      all.end = got.status;
      return all;
    }
    all.text.append(space.data(), got.count);
  }
}
inline io::IoStatus write_now(io::TlsStream& stream, std::string_view text) {
  while (!text.empty()) {
    const iovec part{const_cast<char*>(text.data()), text.size()};
    const io::IoResult result = stream.write(&part, 1);
    if (result.status != io::IoStatus::ok) return result.status;
    text.remove_prefix(result.count);
  }
  return io::IoStatus::ok;
}

}  // namespace io_test
