// What gatepost's own client never does: TLS 1.2, renegotiation, endless KeyUpdates, no end in order.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "test/unit/io_tls_fixture.h"

namespace {

using namespace io_test;
using io::IoStatus;

// OpenSSL's client over memory, with the server's stream at the other end.
class RawClient {
 public:
  RawClient(const ServerContext& server, int version, SSL_SESSION* session = nullptr)
      : wire(server, nullptr), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_max_proto_version(context_.get(), version);
    ssl.reset(SSL_new(context_.get()), SSL_free);
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), in_, out_);
    if (session != nullptr) SSL_set_session(ssl.get(), session);
    wire.begin();
    for (int i = 0; i < 10 && SSL_connect(ssl.get()) != 1; ++i) carry();
    carry();
    ERR_clear_error();
  }
  ~RawClient() {
    SSL_shutdown(ssl.get());  // OpenSSL forgets the sessions of connections that end otherwise
    ERR_clear_error();
  }

  // What has been written on either side goes over.
  void carry() {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out_, &bytes);
    if (size > 0) wire.server.peer.send({bytes, static_cast<std::size_t>(size)});
    BIO_reset(out_);
    wire.loop.settle();
    const std::string answer = wire.server.peer.take(playbook::Peer::unlimited);
    if (!answer.empty()) BIO_write(in_, answer.data(), static_cast<int>(answer.size()));
  }
  void write(std::string_view text) {
    SSL_write(ssl.get(), text.data(), static_cast<int>(text.size()));
    carry();
  }
  std::string read() {
    char space[4096];
    const int got = SSL_read(ssl.get(), space, sizeof space);
    ERR_clear_error();
    return got > 0 ? std::string(space, static_cast<std::size_t>(got)) : std::string();
  }
  io::TlsStream& server() { return *wire.server.stream; }

  Wire wire;
  std::shared_ptr<SSL> ssl;

 private:
  std::shared_ptr<SSL_CTX> context_;
  BIO* in_;
  BIO* out_;
};

TEST_CASE("tls 1.2: facts, octets, resumption") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  RawClient first(server, TLS1_2_VERSION);
  REQUIRE(first.wire.server.open());
  CHECK(first.wire.server.facts().version == "TLSv1.2");
  CHECK(first.wire.server.facts().cipher == "ECDHE-ECDSA-AES256-GCM-SHA384");
  CHECK(first.wire.server.facts().server_name.empty());
  CHECK_FALSE(first.wire.server.facts().resumed);
  first.write("NOOP\r\n");
  CHECK(read_now(first.server()).text == "NOOP\r\n");
  write_now(first.server(), "250 ok\r\n");
  first.carry();
  CHECK(first.read() == "250 ok\r\n");
  SSL_SESSION* session = SSL_get0_session(first.ssl.get());
  for (int again = 0; again < 2; ++again) {  // those of TLS 1.2 are good more than once
    RawClient second(server, TLS1_2_VERSION, session);
    REQUIRE(second.wire.server.open());
    CHECK(second.wire.server.facts().resumed);
  }
  RawClient elsewhere(listener.make("other", server->tickets()), TLS1_2_VERSION, session);
  REQUIRE(elsewhere.wire.server.open());
  CHECK_FALSE(elsewhere.wire.server.facts().resumed);
}

TEST_CASE("tls: a ticket that was changed means a full handshake, not a failure") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    RawClient first(server, version);
    first.read();
    SSL_SESSION* const session = SSL_get0_session(first.ssl.get());
    unsigned char* der = nullptr;
    const int size = i2d_SSL_SESSION(session, &der);
    const unsigned char* ticket = nullptr;
    std::size_t ticket_size = 0;
    SSL_SESSION_get0_ticket(session, &ticket, &ticket_size);
    REQUIRE(ticket_size > 60);
    std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(ticket), ticket_size));
    REQUIRE(at != std::string::npos);
    for (std::size_t octet = 0; octet < ticket_size; octet += 11) {
      std::string changed = bytes;
      changed[at + octet] = static_cast<char>(changed[at + octet] ^ 1);
      const auto* from = reinterpret_cast<const unsigned char*>(changed.data());
      const std::shared_ptr<SSL_SESSION> bad(d2i_SSL_SESSION(nullptr, &from, static_cast<long>(changed.size())),
                                             SSL_SESSION_free);
      REQUIRE(bad);
      RawClient second(server, version, bad.get());
      REQUIRE(second.wire.server.open());
      CHECK_FALSE(second.wire.server.facts().resumed);
    }
  }
}

TEST_CASE("tls 1.2: no renegotiation") {
  Listener listener("mx.example.org");
  RawClient client(listener.make(), TLS1_2_VERSION);
  REQUIRE(client.wire.server.open());
  for (int i = 0; i < 10; ++i) {
    SSL_renegotiate(client.ssl.get());
    SSL_do_handshake(client.ssl.get());
    client.carry();
    const Reading seen = read_now(client.server());
    CHECK(seen.text.empty());
    client.carry();
    SSL_do_handshake(client.ssl.get());
    if (seen.end != IoStatus::would_block) break;
  }
  CHECK(SSL_total_renegotiations(client.ssl.get()) <= 1);
}

TEST_CASE("tls 1.3: KeyUpdates are obeyed and answered") {
  Listener listener("mx.example.org");
  RawClient client(listener.make(), TLS1_3_VERSION);
  REQUIRE(client.wire.server.open());
  for (int i = 0; i < 20; ++i) {
    SSL_key_update(client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
    client.write("NOOP\r\n");
    CHECK(read_now(client.server()).text == "NOOP\r\n");
    write_now(client.server(), "250 ok\r\n");
    client.carry();
    CHECK(client.read() == "250 ok\r\n");
  }
}

TEST_CASE("tls 1.3: a KeyUpdate that cannot be answered yet blocks neither direction for ever") {
  Listener listener("mx.example.org");
  RawClient client(listener.make(), TLS1_3_VERSION);
  REQUIRE(client.wire.server.open());
  client.wire.server.peer.set_window(1);
  CHECK(write_now(client.server(), "250 ok\r\n") == IoStatus::would_block);
  SSL_key_update(client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
  client.write("NOOP\r\n");
  std::string seen;
  for (int i = 0; i < 300; ++i) {
    seen += read_now(client.server()).text;
    if (write_now(client.server(), "250 ok\r\n") == IoStatus::ok) break;
    client.wire.server.peer.grant();
    client.carry();
  }
  seen += read_now(client.server()).text;
  client.wire.server.peer.set_window(playbook::Peer::unlimited);
  client.carry();
  CHECK(seen == "NOOP\r\n");
  CHECK(client.read() == "250 ok\r\n");
}

TEST_CASE("tls 1.3: endless KeyUpdates end the connection") {
  Listener listener("mx.example.org");
  RawClient client(listener.make(), TLS1_3_VERSION);
  REQUIRE(client.wire.server.open());
  for (int i = 0; i < 8000; ++i) {
    SSL_key_update(client.ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(client.ssl.get());
  }
  client.carry();
  const Reading seen = read_now(client.server());
  CHECK(seen.text.empty());
  CHECK(seen.end == IoStatus::reset);
  CHECK(client.server().why() == "peer sends records without content");
}

TEST_CASE("tls: gone without a word is a reset in either version") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    RawClient client(server, version);
    REQUIRE(client.wire.server.open());
    client.write("DATA\r\n");
    client.wire.server.peer.close();
    const Reading seen = read_now(client.server());
    CHECK(seen.text == "DATA\r\n");
    CHECK(seen.end == IoStatus::reset);
    CHECK(client.server().why() == "peer closed without close_notify");
    RawClient polite(server, version);
    SSL_shutdown(polite.ssl.get());
    polite.carry();
    CHECK(read_now(polite.server()).end == IoStatus::closed);
  }
}

}  // namespace
