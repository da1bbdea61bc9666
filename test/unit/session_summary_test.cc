// The summary line: what of TLS it holds, and that a client cannot write into the log by it.
#include <doctest/doctest.h>

#include "proxy/session/transaction.h"

namespace {

std::string summary_of(const session::ClientFacts& client, config::LogFormat format) {
  const session::Transaction mail("1", protocol::MailCommand());
  admin::Record record(format, admin::Level::info, mail.trace_id);
  summarise(record, mail, client);
  return std::move(record).take();
}

session::ClientFacts client_with_tls() {
  session::ClientFacts client;
  client.listener = "in";
  io::TlsFacts& tls = client.tls.emplace();
  tls.version = "TLSv1.3";
  tls.cipher = "TLS_AES_256_GCM_SHA384";
  return client;
}

bool has(const std::string& line, std::string_view text) { return line.find(text) != std::string::npos; }

}  // namespace

TEST_CASE("summary: TLS without a name or a certificate") {
  const std::string line = summary_of(client_with_tls(), config::LogFormat::text);
  CHECK(has(line, ", tls=TLSv1.3/TLS_AES_256_GCM_SHA384, listener=in"));
}

TEST_CASE("summary: the name that was asked for, and whose certificate") {
  session::ClientFacts client = client_with_tls();
  client.tls->server_name = "mx.example.org";
  io::TlsCertificate& shown = client.tls->peer.emplace();
  shown.subject = "CN=client.example,O=Example";
  shown.fingerprint = std::string(64, 'a');
  CHECK(has(summary_of(client, config::LogFormat::text),
            ", sni=mx.example.org, cert_unverified=\"CN=client.example,O=Example\", cert_sha256=" + shown.fingerprint));
  shown.verified = true;
  CHECK(has(summary_of(client, config::LogFormat::text), ", cert=\"CN=client.example,O=Example\", cert_sha256="));
  CHECK(has(summary_of(client, config::LogFormat::json),
            R"("sni":"mx.example.org","cert":"CN=client.example,O=Example","cert_sha256":")"));
}

TEST_CASE("summary: a name and a subject that would be fields or lines of their own") {
  session::ClientFacts client = client_with_tls();
  client.tls->server_name = "a, outcome=answered\r\nJan  1 forged\x1b[2J";
  io::TlsCertificate& shown = client.tls->peer.emplace();
  shown.verified = true;
  shown.subject = "CN=\", status=CLEAN, x=\"\n";
  for (const auto format : {config::LogFormat::text, config::LogFormat::json}) {
    const std::string line = summary_of(client, format);
    CAPTURE(line);
    CHECK(line.find_first_of("\r\n\x1b") == std::string::npos);
    CHECK(has(line, R"(\r\n)"));
    CHECK(has(line, R"(\", status=CLEAN, x=\")"));
  }
  CHECK(has(summary_of(client, config::LogFormat::text), R"(sni="a, outcome=answered\r\nJan)"));
}
