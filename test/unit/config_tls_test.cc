#include <doctest/doctest.h>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using config_test::Files;
using config_test::machine;
using config_test::outcome;
using Lines = std::vector<std::string>;

// A config whose listener and downstream have these keys.
std::string text_with(const std::string& listener, const std::string& downstream) {
  return R"({"listeners":[{"name":"in","address":"127.0.0.1:25","downstream":"mta")" + listener +
         "}],\n"
         R"("downstreams":{"mta":{"servers":["127.0.0.1:26"])" +
         downstream +
         "}},\n"
         R"("scanners":{"av":{"signatures":["/sig"]}}})";
}
std::string client_leg(const std::string& tls) { return text_with(",\"tls\":{" + tls + "}", ""); }
std::string downstream_leg(const std::string& tls) { return text_with("", ",\"tls\":{" + tls + "}"); }

// "f:1:78: /..." as "f:1: /...".
Lines without_columns(Lines lines) {
  for (std::string& line : lines) {
    const std::size_t column = line.find(':', 2), end = line.find(": ");
    line.erase(column, end - column);
  }
  return lines;
}

constexpr const char* pair = R"("certificates":[{"certificate":"/a.pem","key":"/a.key"}])";
constexpr const char* digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
constexpr const char* colons =
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

TEST_CASE("tls keys: read, and shown again") {
  const std::string text = text_with(
      R"(,"tls":{"mode":"starttls","required":true,"client_certificates":"ask","client_ca":"/ca","minimum":"1.3",)"
      R"("ciphers":"HIGH","groups":"X25519","session_tickets":false,)"
      R"("certificates":[{"certificate":"/a.pem","key":"/a.key"},{"certificate":"/b.pem","key":"/b.pem"}]})",
      R"(,"tls":{"mode":"verified","implicit":true,"name":"mx.example.org","fingerprints":[")" + std::string(colons) +
          R"("],"certificate":"/c","key":"/k"})");
  const auto first = config::build({{"f", text}}, machine());
  REQUIRE(first);
  const config::ListenerTls& tls = first->config->listeners[0].tls;
  CHECK(tls.mode == config::ListenerTlsMode::starttls);
  CHECK(tls.required);
  REQUIRE(tls.certificates.size() == 2);
  CHECK(tls.certificates[1].key == "/b.pem");
  CHECK(tls.client_certificates == config::ClientCertificates::ask);
  CHECK(tls.minimum == config::TlsVersion::v1_3);
  CHECK_FALSE(tls.session_tickets);
  const config::DownstreamTls& down = first->config->downstreams.at("mta").tls;
  CHECK(down.mode == config::DownstreamTlsMode::verified);
  CHECK(down.implicit);
  CHECK(down.fingerprints == Lines{colons});
  const std::string shown = show(*first->config);
  CAPTURE(shown);
  const auto second = config::build({{"shown", shown}}, machine());
  REQUIRE(second);
  CHECK(show(*second->config) == shown);
  CHECK(second->config->listeners[0].tls.certificates.size() == 2);
}

TEST_CASE("tls keys: what does not fit together") {
  struct Case {
    std::string text, error;
  };
  const std::vector<Case> cases{
      {client_leg(R"("mode":"starttls")"),
       "f:1: /listeners/0/tls/certificates: missing: TLS needs at least one certificate with its key"},
      {client_leg(R"("mode":"implicit","certificates":[])"),
       "f:1: /listeners/0/tls/certificates: missing: TLS needs at least one certificate with its key"},
      {client_leg(pair),
       "f:1: /listeners/0/tls/mode: is \"none\", so the certificates are of no use; say \"starttls\" or "
       "\"implicit\""},
      {client_leg(R"("required":true)"),
       "f:1: /listeners/0/tls/required: cannot be kept with mode \"none\": nobody could send mail"},
      {client_leg(R"("mode":"starttls","client_certificates":"require",)" + std::string(pair)),
       "f:1: /listeners/0/tls/client_ca: missing: without it no client's certificate can be verified"},
      {client_leg(R"("mode":"starttls","client_ca":"/ca",)" + std::string(pair)),
       "f:1: /listeners/0/tls/client_ca: is of no use while client_certificates is \"none\""},
      {client_leg(R"("mode":"starttls","certificates":[{"certificate":"/a.pem"}])"),
       "f:1: /listeners/0/tls/certificates/0/key: missing: PEM file of its private key, without a passphrase."},
      {client_leg(R"("mode":"starttls","certificates":[{"certificate":"a.pem","key":"/k"}])"),
       "f:1: /listeners/0/tls/certificates/0/certificate: \"a.pem\" must be an absolute path"},
      {client_leg(R"("mode":"starttl")"),
       "f:1: /listeners/0/tls/mode: \"starttl\" is not known here, only \"none\", \"starttls\", \"implicit\" or \"pass\"; did "
       "you mean \"starttls\"?"},
      {client_leg(R"("minimum":"1.1")"),
       "f:1: /listeners/0/tls/minimum: \"1.1\" is not known here, only \"1.2\" or \"1.3\"; did you mean \"1.2\"?"},
      {downstream_leg(R"("implicit":true)"), "f:2: /downstreams/mta/tls/implicit: cannot be with mode \"none\""},
      {downstream_leg(R"("mode":"opportunistic","implicit":true)"),
       "f:2: /downstreams/mta/tls/implicit: leaves nothing to be opportunistic about; say \"required\" or "
       "\"verified\""},
      {downstream_leg(R"("mode":"required","ca":"/ca")"),
       "f:2: /downstreams/mta/tls/mode: must be \"verified\" for ca and fingerprints to be looked at"},
      {downstream_leg(R"("mode":"verified","key":"/k")"),
       "f:2: /downstreams/mta/tls/certificate: missing: certificate and key go together"},
      {downstream_leg(R"("mode":"verified","certificate":"/k")"),
       "f:2: /downstreams/mta/tls/key: missing: certificate and key go together"},
      {downstream_leg(R"("mode":"verified","ca":"/ca","fingerprints":[")" + std::string(digits) + "\"]"),
       "f:2: /downstreams/mta/tls/ca: is of no use beside fingerprints: one of these must match"}};
  for (const Case& each : cases) {
    CAPTURE(each.text);
    CHECK(without_columns(outcome(each.text)) == Lines{each.error});
  }
  const std::string maildir =
      R"({"listeners":[{"name":"in","address":"127.0.0.1:25","downstream":"m"}],"downstreams":{"m":{"path":"/m",)"
      R"("tls":{"mode":"required"}}},"scanners":{"av":{"signatures":["/sig"]}}})";
  REQUIRE(outcome(maildir).size() == 1);
  CHECK(outcome(maildir)[0].ends_with("belongs to a downstream with servers: a maildir speaks no TLS"));
}

TEST_CASE("tls keys: fingerprints") {
  const auto outcome_of = [](const std::string& text) {
    return outcome(downstream_leg(R"("mode":"verified","fingerprints":[")" + text + "\"]"))[0];
  };
  CHECK(outcome_of(digits) == "ok");
  CHECK(outcome_of(colons) == "ok");
  const std::string good = digits;
  for (const std::string& bad :
       {good.substr(1), good + "0", ":" + good, good + ":", good.substr(0, 1) + ":" + good.substr(1),
        "0g" + good.substr(2), "00::" + good.substr(2), std::string("sha256:") + digits, std::string("x")}) {
    CAPTURE(bad);
    CHECK(outcome_of(bad).find("is no SHA-256 fingerprint: 64 hexadecimal digits") != std::string::npos);
  }
}

TEST_CASE("tls keys: certificates are tried when all else is right, and found fault with where they stand") {
  config::Surroundings on = machine();
  int calls = 0;
  on.tls = [&calls](const config::Config& config) {
    ++calls;
    CHECK(config.listeners.at(0).tls.certificates.size() == 1);
    return std::vector<config::Finding>{{"/listeners/0/tls/certificates/0/key", "no good", false},
                                        {"/listeners/0/tls/certificates/0/certificate", "old", true}};
  };
  const std::string text = client_leg(R"("mode":"starttls",)" + std::string(pair));
  CHECK(outcome(Files{{"f", text}}, on) == Lines{"f:1:143: /listeners/0/tls/certificates/0/key: no good"});
  CHECK(calls == 1);
  CHECK(outcome(Files{{"f", client_leg(R"("mode":"starttls")")}}, on).size() == 1);
  CHECK(calls == 1);
  on.tls = [](const config::Config&) {
    return std::vector<config::Finding>{{"/listeners/0/tls/certificates/0/certificate", "old", true}};
  };
  CHECK(outcome(Files{{"f", text}}, on).size() == 2);  // ok, and the warning
}

}  // namespace

TEST_CASE("tls mode pass: where connections are intercepted, and nowhere else") {
  const auto with = [](const std::string& listener, const std::string& downstream) {
    return without_columns(outcome({{"f", text_with(listener, downstream)}}));
  };
  CHECK(with(R"(,"tls":{"mode":"pass"})", "") ==
        Lines{"f:1: /listeners/0/tls/mode: \"pass\" belongs to a listener with intercept: whoever connects to us "
              "knowingly gets our TLS"});
  const std::string intercepted = R"(,"intercept":"redirect","scopes":["output"],"direction":"outgoing","ports":[26],)";
  const Lines good = outcome({{"f", text_with(intercepted + R"("tls":{"mode":"pass"})", "")}});
  CAPTURE(good);
  REQUIRE(good.size() == 2);
  CHECK(good[0] == "ok");
  CHECK(good[1].ends_with("/listeners/0/tls/mode: mail inside TLS is passed on unscanned"));
  const Lines bad = with(intercepted + R"("tls":{"mode":"pass","required":true,)" + pair + "}",
                         R"(,"tls":{"mode":"required"})");
  CHECK(bad.size() == 3);
}

TEST_CASE("tls pass_sources and pass_destinations: where the others' TLS is not passed on") {
  const std::string intercepted = R"(,"intercept":"redirect","scopes":["output"],"direction":"outgoing","ports":[26],)";
  const std::string list = R"("pass_sources":["192.0.2.0/24"])";
  const auto second = [](const std::string& listener) { return outcome({{"f", text_with(listener, "")}}).back(); };
  for (const std::string& mode : Lines{R"("mode":"none",)", R"("mode":"starttls",)" + std::string(pair) + ","}) {
    const Lines warned = outcome({{"f", text_with(intercepted + R"("tls":{)" + mode + list + "}", "")}});
    CHECK(warned.front() == "ok");
    CHECK(warned.back().ends_with("/pass_sources: mail inside TLS of these is passed on unscanned"));
  }
  CHECK(second(intercepted + R"("tls":{"mode":"implicit",)" + pair + "," + list + "}").find("is for STARTTLS") != std::string::npos);
  CHECK(second(intercepted + R"("tls":{"mode":"pass",)" + list + "}").find("is \"pass\" for all") != std::string::npos);
  CHECK(second(R"(,"tls":{)" + list + "}").find("belongs to a listener with intercept") != std::string::npos);
}

TEST_CASE("tls local_ca and destinations: where connections are intercepted") {
  const auto with = [](const std::string& listener, const std::string& downstream) {
    return without_columns(outcome({{"f", text_with(listener, downstream)}}));
  };
  const std::string intercepted = R"(,"intercept":"redirect","scopes":["output"],"direction":"outgoing","ports":[26],)";
  const std::string ca = R"("local_ca":{"certificate":"/ca.pem","key":"/ca.key"})";
  const auto accepts = [](const std::string& listener, const std::string& downstream) {
    return outcome({{"f", text_with(listener, downstream)}}) == Lines{"ok"};
  };
  CHECK(accepts(intercepted + R"("tls":{"mode":"starttls",)" + ca + "}", R"(,"tls":{"mode":"verified"})"));
  const Lines warned = outcome({{"f", text_with(intercepted + R"("tls":{"mode":"starttls",)" + ca + "}", "")}});
  REQUIRE(warned.size() == 2);
  CHECK(warned[1].find("/listeners/0/tls/local_ca: \"mta\" does not verify servers") != std::string::npos);
  CHECK(accepts(intercepted + R"("tls":{"mode":"starttls","certificates":[{"certificate":"/a","key":"/b","destinations":["192.0.2.0/24"]}]})",
                ""));
  CHECK(with(R"(,"tls":{"mode":"starttls",)" + ca + "}", "") ==
        Lines{"f:1: /listeners/0/tls/local_ca: belongs to a listener with intercept: who connects to us knowingly gets "
              "our own certificate"});
  CHECK(with(intercepted + R"("tls":{"mode":"starttls","local_ca":{"key":"/ca.key"},)" + pair + "}", "") ==
        Lines{"f:1: /listeners/0/tls/local_ca/certificate: missing: certificate and key go together"});
  CHECK(with(intercepted + R"("tls":{)" + ca + "}", "") ==
        Lines{"f:1: /listeners/0/tls/local_ca: is of no use without mode \"starttls\" or \"implicit\": only there we "
              "are one end of TLS"});
  CHECK(with(intercepted + R"("tls":{"mode":"pass",)" + ca + "}", "").front().find("/local_ca: is of no use") != std::string::npos);
  CHECK(with(R"(,"tls":{"mode":"starttls","certificates":[{"certificate":"/a","key":"/b","destinations":["192.0.2.0/24"]}]})",
             "") == Lines{"f:1: /listeners/0/tls/certificates/0/destinations: belong to a listener with intercept: other "
                          "clients mean no server but us"});
}
