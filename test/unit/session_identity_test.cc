// Who is believed, what is told, what proves that a server does not relay.
#include <doctest/doctest.h>

#include "config/endpoint.h"
#include "proxy/session/end_of_data.h"
#include "proxy/session/introduction.h"
#include "proxy/session/relay_probe.h"

namespace {

using protocol::Attribute;
using protocol::Reply;
using session::Channel;
using session::ClientFacts;
using session::Proof;
namespace reply = protocol::reply;

ClientFacts client() {
  ClientFacts facts;
  facts.ip = "203.0.113.9";
  facts.port = 4711;
  facts.address = "203.0.113.9:4711";
  facts.destination_ip = "198.51.100.1";
  facts.destination_port = 25;
  facts.helo = "client.example.com";
  facts.esmtp = true;
  return facts;
}

TEST_CASE("what proves that a server does not relay") {
  struct Case {
    int code;
    const char* enhanced;
    const char* text;
    Proof proof;
  };
  for (const Case& c : {
           Case{250, "2.1.5", "Ok", Proof::relays},
           Case{251, "", "User not local; will forward", Proof::relays},
           Case{554, "5.7.1", "<relay-probe@example.net>: Relay access denied", Proof::refuses},  // Postfix
           Case{550, "", "relay not permitted", Proof::refuses},                                  // Exim
           Case{550, "5.7.1", "<relay-probe@example.net>... Relaying denied", Proof::refuses},    // Sendmail
           Case{550, "5.7.25", "no PTR", Proof::refuses},
           Case{551, "", "we do not RELAY", Proof::refuses},
           Case{553, "5.1.8", "Sorry, that domain is not in my list of relays", Proof::refuses},
           Case{454, "4.7.1", "Relay access denied", Proof::refuses},  // the default of Postfix
           Case{454, "4.7.1", "Greylisted", Proof::none},
           Case{454, "", "Relay access denied", Proof::none},
           Case{450, "4.1.2", "Domain not found", Proof::none},
           Case{550, "5.1.2", "Domain not found", Proof::none},
           Case{501, "", "relay: domain literals not allowed", Proof::none},
           Case{503, "5.5.1", "need MAIL before relay", Proof::none},
           Case{550, "", "Invalid recipient", Proof::none},
           Case{421, "4.7.0", "relay", Proof::none},
           Case{550, "5.1.1", "<relay-probe@example.net>: User unknown", Proof::none},
           Case{450, "4.7.1", "<Relay-Probe@example.net>: Greylisted", Proof::none},
       }) {
    CAPTURE(c.text);
    CHECK(session::proof_of(reply::make(c.code, c.enhanced, c.text), "relay-probe@example.net") == c.proof);
  }
  CHECK(session::joined(Proof::refuses, Proof::relays) == Proof::relays);
  CHECK(session::joined(Proof::relays, Proof::refuses) == Proof::relays);
  CHECK(session::joined(Proof::none, Proof::refuses) == Proof::refuses);
  CHECK(session::joined(Proof::refuses, Proof::none) == Proof::refuses);
  CHECK(session::joined(Proof::none, Proof::none) == Proof::none);
}

TEST_CASE("which listener is exempt") {
  const auto listener = [](const std::string& address) {
    config::Listener out;
    out.address = **config::parse_literal(*config::parse_host_port(address), address);
    return out;
  };
  CHECK(session::is_exempt(listener("127.0.0.1:25")));
  CHECK(session::is_exempt(listener("127.9.9.9:25")));
  CHECK(session::is_exempt(listener("[::1]:25")));
  for (const char* address : {"0.0.0.0:25", "[::]:25", "192.0.2.1:25", "[::ffff:192.0.2.1]:25"}) {
    CAPTURE(address);
    CHECK_FALSE(session::is_exempt(listener(address)));
  }
  // Whom the packet filter brings.
  config::Listener intercepting = listener("127.0.0.1:25");
  for (const auto way :
       {config::Intercept::redirect, config::Intercept::tproxy, config::Intercept::pf_rdr, config::Intercept::divert})
    for (const std::vector<config::Scope>& scopes :
         {std::vector{config::Scope::input}, std::vector{config::Scope::forward}, std::vector{config::Scope::output},
          std::vector{config::Scope::output, config::Scope::input}}) {
      intercepting.intercept = way;
      intercepting.scopes = scopes;
      CHECK(session::is_exempt(intercepting) ==
            (way == config::Intercept::redirect && scopes == std::vector{config::Scope::output}));
    }
  config::Listener behind_proxy = listener("127.0.0.1:25");
  behind_proxy.proxy_header = config::ProxyHeader::v2;
  CHECK_FALSE(session::is_exempt(behind_proxy));
  config::Listener behind_mta = listener("127.0.0.1:25");
  behind_mta.xclient_from.push_back(*config::parse_netmask("127.0.0.1"));
  CHECK_FALSE(session::is_exempt(behind_mta));
}

TEST_CASE("outgoing mail for this host is not for a stranger") {
  config::Downstream original;
  original.original = true;
  config::Listener outgoing;
  outgoing.intercept = config::Intercept::redirect;
  outgoing.direction = config::Direction::outgoing;
  session::Intercepted elsewhere, here;
  here.to_here = true;
  CHECK(session::are_strangers(original, outgoing, &elsewhere));
  CHECK(session::are_strangers(original, outgoing, nullptr));
  CHECK_FALSE(session::are_strangers(original, outgoing, &here));
  CHECK_FALSE(session::are_strangers(config::Downstream(), outgoing, &elsewhere));
  CHECK_FALSE(session::are_strangers(original, config::Listener(), &elsewhere));
  CHECK(session::configured_channel(original, outgoing, &elsewhere) == Channel::none);
  CHECK(session::configured_channel(original, outgoing, &here) == Channel::undecided);
  outgoing.intercept = config::Intercept::tproxy;
  CHECK(session::configured_channel(original, outgoing, &here) == Channel::spoof);
}

TEST_CASE("a banner has a mark that stays from day to day") {
  const auto mark = [](const char* text) {
    return session::mark_of_banner(Reply(220, std::nullopt, std::string(text)));
  };
  CHECK(mark("mx.test ESMTP Exim 4.96 Mon, 23 Nov 2026 20:00:01 +0000") ==
        mark("mx.test ESMTP Exim 4.96 Tue, 24 Nov 2026 07:13:59 +0000"));
  CHECK(mark("mx.test ESMTP Sendmail 8.17.1; Sun, 1 Dec 2026 00:00:00 GMT") ==
        mark("mx.test ESMTP Sendmail 8.17.1; Fri, 3 Jan 2027 00:00:00 GMT"));
  CHECK(mark("mx.test ESMTP Postfix") != mark("mx.test ESMTP Exim"));
  CHECK(mark("a.test ESMTP Postfix") != mark("b.test ESMTP Postfix"));
  CHECK(mark("").empty());
}

TEST_CASE("what a server offers is the same with another limit of size") {
  protocol::Capabilities a;
  a.size = true;
  a.size_limit = 1000;
  protocol::Capabilities b = a;
  b.size_limit = 2000;
  CHECK(session::same_offer(a, b));
  b.xclient.push_back("ADDR");
  CHECK_FALSE(session::same_offer(a, b));
}

TEST_CASE("the PROXY header of a client") {
  ClientFacts facts = client();
  CHECK(format(session::proxy_header_of(facts), protocol::ProxyVersion::v1) ==
        "PROXY TCP4 203.0.113.9 198.51.100.1 4711 25\r\n");
  io::TlsFacts tls;
  tls.version = "TLSv1.3";
  tls.cipher = "TLS_AES_256_GCM_SHA384";
  tls.server_name = "mx.example.org";
  tls.peer.emplace();
  tls.peer->subject = "CN=client.example.com,O=Example";
  facts.tls = tls;
  const protocol::ProxyHeader told = session::proxy_header_of(facts);
  REQUIRE(told.tls);
  CHECK(told.tls->tls);
  CHECK(told.tls->certificate);
  CHECK(told.tls->verify == 1);
  CHECK(told.tls->common_name == "client.example.com");
  CHECK(told.authority == "mx.example.org");
  facts.tls->peer->verified = true;
  facts.tls->resumed = true;
  CHECK(session::proxy_header_of(facts).tls->verify == 0);
  CHECK_FALSE(session::proxy_header_of(facts).tls->certificate);
  CHECK(session::proxy_header_of(facts).tls->certificate_in_session);
  for (const char* subject : {"", "O=x", "CN=", "C=DE", "O=CN\\,CN"}) {
    CAPTURE(subject);
    facts.tls->peer->subject = subject;
    CHECK(session::proxy_header_of(facts).tls->common_name.empty());
  }
  facts.tls->peer->subject = "O=x,CN=" + std::string(100'000, 'a');  // must fit into a header
  facts.tls->server_name = std::string(100'000, 'b');
  protocol::ProxyHeader front;
  front.unique_id = std::string(128, 'c');
  facts.front = std::make_shared<const protocol::ProxyHeader>(front);
  CHECK(format(session::proxy_header_of(facts), protocol::ProxyVersion::v2).size() < 4096);
  facts.ip.clear();  // a UNIX socket
  CHECK_FALSE(session::proxy_header_of(facts).source);
}

TEST_CASE("what a peer in front has told of TLS goes on, and so does its name for the connection") {
  ClientFacts facts = client();
  protocol::ProxyHeader front;
  front.tls.emplace().tls = true;
  front.tls->version = "TLSv1.3";
  front.authority = "mx.example.org";
  front.alpn = "smtp";
  front.unique_id = "id-1";
  facts.front = std::make_shared<const protocol::ProxyHeader>(front);
  protocol::ProxyHeader told = session::proxy_header_of(facts);
  CHECK(told.tls == front.tls);
  CHECK(told.authority == "mx.example.org");
  CHECK(told.alpn == "smtp");
  CHECK(told.unique_id == "id-1");
  facts.tls.emplace().server_name = "other.example.org";  // inside of that one
  told = session::proxy_header_of(facts);
  CHECK(told.authority == "other.example.org");
  CHECK(told.alpn.empty());
  CHECK(told.unique_id == "id-1");
}

TEST_CASE("policy may look at the client's TLS, whoever has made it") {
  const session::Transaction mail("1", protocol::MailCommand());
  ClientFacts facts = client();
  CHECK_FALSE(session::facts_of(mail, facts).tls);
  protocol::ProxyHeader front;
  front.alpn = "smtp";
  facts.front = std::make_shared<const protocol::ProxyHeader>(front);
  CHECK_FALSE(session::facts_of(mail, facts).tls);  // an ALPN without TLS is nothing
  protocol::ProxyTls& tls = front.tls.emplace();
  tls.tls = true;
  tls.version = "TLSv1.2";
  tls.cipher = "ECDHE-RSA-AES128-GCM-SHA256";
  front.authority = "mx.example.org";
  facts.front = std::make_shared<const protocol::ProxyHeader>(front);
  judge::Facts known = session::facts_of(mail, facts);
  REQUIRE(known.tls);
  CHECK(known.tls_told);
  CHECK(known.tls->version == "TLSv1.2");
  CHECK(known.tls->cipher == "ECDHE-RSA-AES128-GCM-SHA256");
  CHECK(known.tls->server_name == "mx.example.org");
  CHECK(known.tls->alpn == "smtp");
  CHECK_FALSE(known.tls->peer);
  front.tls->certificate_in_session = true;
  front.tls->common_name = "Client.Example";
  facts.front = std::make_shared<const protocol::ProxyHeader>(front);
  known = session::facts_of(mail, facts);
  REQUIRE(known.tls->peer);
  CHECK(known.tls->resumed);
  CHECK(known.tls->peer->names == std::vector<std::string>{"client.example"});
  CHECK_FALSE(known.tls->peer->verified);
  front.tls->verify = 0;
  facts.front = std::make_shared<const protocol::ProxyHeader>(front);
  CHECK(session::facts_of(mail, facts).tls->peer->verified);
  // Our own handshake counts for more than what is told.
  io::TlsFacts& own = facts.tls.emplace();
  own.version = "TLSv1.3";
  own.peer.emplace().fingerprint = std::string(64, 'a');
  known = session::facts_of(mail, facts);
  CHECK_FALSE(known.tls_told);
  CHECK(known.tls->version == "TLSv1.3");
  CHECK(known.tls->peer->fingerprint == std::string(64, 'a'));
}

TEST_CASE("a connection by which the client is told serves nobody else") {
  for (const Channel channel : {Channel::xclient, Channel::proxy_v1, Channel::proxy_v2, Channel::spoof})
    CHECK(session::is_of_one_client(channel));
  for (const Channel channel : {Channel::none, Channel::xforward, Channel::undecided})
    CHECK_FALSE(session::is_of_one_client(channel));
}

TEST_CASE("XCLIENT never tells a login; XFORWARD tells the client's own client") {
  ClientFacts facts = client();
  facts.login = "anna";
  const auto xclient = session::xclient_of(facts, "helo.example.com", false);
  CHECK(xclient.login.state == Attribute::State::absent);
  CHECK(xclient.name.state == Attribute::State::unavailable);
  CHECK(xclient.addr.text == "203.0.113.9");
  CHECK(xclient.proto.text == "SMTP");
  CHECK(xclient.helo.text == "helo.example.com");
  CHECK(xclient.destport.text == "25");
  CHECK(session::xforward_of(facts).source.text == "REMOTE");
  protocol::ClientIdentity told;
  told.addr = Attribute("198.51.100.7");
  facts.forwarded = std::make_shared<const protocol::ClientIdentity>(told);
  CHECK(session::xforward_of(facts).addr.text == "198.51.100.7");
  CHECK(session::xforward_of(facts).helo.text == "client.example.com");
}

session::ClientFacts client_at(std::string ip) {
  session::ClientFacts client;
  client.ip = std::move(ip);
  return client;
}

TEST_CASE("trust belongs to the address that speaks") {
  config::Listener listener;
  listener.proxy_from.push_back(*config::parse_netmask("192.0.2.0/24"));
  listener.xclient_from.push_back(*config::parse_netmask("2001:db8::/32"));
  CHECK(session::trust_in(listener, client_at("192.0.2.7")).proxy);
  CHECK(session::trust_in(listener, client_at("::ffff:192.0.2.7")).proxy);
  CHECK_FALSE(session::trust_in(listener, client_at("192.0.2.7")).xclient);
  CHECK(session::trust_in(listener, client_at("2001:db8::9")).xclient);
  for (const char* nobody : {"", "unknown", "192.0.3.1", "192.0.2", "localhost"}) {
    CAPTURE(nobody);
    const session::Trust trust = session::trust_in(listener, client_at(nobody));
    CHECK_FALSE((trust.proxy || trust.xclient || trust.xforward || trust.received));
  }
  session::ClientFacts behind = client_at("2001:db8::9");
  behind.front = std::make_shared<const protocol::ProxyHeader>();  // that names nobody
  CHECK_FALSE(session::trust_in(listener, behind).xclient);
}

TEST_CASE("what may be read of a PROXY header without reading past it") {
  const auto read_all = [](const std::string& octets, std::size_t header) {
    std::size_t at = 0;
    while (at < header) at += session::certain_octets(std::string_view(octets).substr(0, at));
    return at;
  };
  const std::string unknown = "PROXY UNKNOWN\r\n";
  CHECK(read_all(unknown + "EHLO", unknown.size()) == unknown.size());
  const std::string longest = "PROXY TCP6 " + std::string(39, 'f') + " " + std::string(39, 'f') + " 65535 65535\r\n";
  CHECK(read_all(longest + "EHLO", longest.size()) == longest.size());
  std::string binary("\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xff", 16);
  binary.append(0x0fff, 'x');
  CHECK(read_all(binary + "EHLO", binary.size()) == binary.size());
  CHECK(read_all(std::string("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16), 16) == 16);
}

TEST_CASE("what was told takes the place of what the socket said") {
  ClientFacts facts = client();
  facts.loopback = true;
  facts.login = "anna";
  protocol::ProxyHeader header;
  header.local = true;
  introduce(facts, header);
  CHECK_FALSE(facts.told);
  CHECK(facts.loopback);
  header = protocol::ProxyHeader();
  header.tls.emplace().tls = true;
  introduce(facts, header);  // without addresses the connection's own stand
  CHECK_FALSE(facts.told);
  CHECK(facts.encrypted());
  protocol::ClientIdentity told;
  told.addr = Attribute("2001:db8::9");
  told.port = Attribute("25");
  introduce(facts, told);
  CHECK(facts.told);
  CHECK_FALSE(facts.loopback);  // AUTH in plain text is not for it
  CHECK(facts.address == "[2001:db8::9]:25");
  CHECK(facts.login.empty());  // it was another client's
  told = protocol::ClientIdentity();
  told.addr = Attribute(Attribute::State::unavailable);
  introduce(facts, told);
  CHECK(facts.ip.empty());
  CHECK(facts.address == "unknown");
}

}  // namespace
