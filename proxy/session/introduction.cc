#include "proxy/session/introduction.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "proxy/session/smtp_session.h"

namespace session {

using io::Task;
using protocol::Attribute;
using protocol::IdentityVerb;
using protocol::Reply;
using protocol::Verb;
namespace reply = protocol::reply;

namespace {

constexpr std::size_t shortest_header = 15;  // "PROXY UNKNOWN" and CRLF
constexpr std::size_t v2_start = 16;

sockaddr_storage socket_address_of(const protocol::IpAddress& ip) {
  sockaddr_storage storage{};
  if (ip.family == protocol::IpAddress::Family::ipv4) {
    auto& four = reinterpret_cast<sockaddr_in&>(storage);
    four.sin_family = AF_INET;
    std::memcpy(&four.sin_addr, ip.octets.data(), sizeof four.sin_addr);
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(storage);
    six.sin6_family = AF_INET6;
    std::memcpy(&six.sin6_addr, ip.octets.data(), sizeof six.sin6_addr);
  }
  return storage;
}

// "192.0.2.1:25", "[2001:db8::1]:25"; without an address "unknown".
std::string address_text(const ClientFacts& client) {
  const auto ip = protocol::parse_ip(client.ip);
  if (!ip) return "unknown";
  return to_text(protocol::SocketAddress(*ip, client.port));
}

void take_text(const Attribute& told, std::string& place) {
  if (told.state != Attribute::State::absent) place = told.text;  // empty where it is not known
}

void take_port(const Attribute& told, std::uint16_t& place) {
  if (told.state == Attribute::State::absent) return;
  place = told.text.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(std::stoul(told.text));
}

// As much of the content as its first field may take.
std::string beginning_of(const io::Spool& spool) {
  constexpr std::size_t most = 65536;
  if (spool.in_memory()) return std::string(spool.memory().substr(0, most));
  std::string head(most, '\0');
  const ssize_t got = ::pread(spool.file(), head.data(), head.size(), static_cast<off_t>(spool.file_offset()));
  head.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return head;
}

const protocol::Capabilities& all_to_tell() {
  static const protocol::Capabilities all = [] {
    protocol::Carry carry;
    carry.xclient = carry.xforward = true;
    return protocol::carried(carry);
  }();
  return all;
}

}  // namespace

Trust trust_in(const config::Listener& listener, const ClientFacts& client) {
  Trust trust;
  if (client.front && !client.told) return trust;
  if (listener.proxy_from.empty() && listener.xclient_from.empty() && listener.xforward_from.empty() &&
      listener.received_from.empty())
    return trust;
  const auto parsed = protocol::parse_ip(client.ip);
  if (!parsed) return trust;
  const sockaddr_storage storage = socket_address_of(unmapped(*parsed));
  const auto* const address = reinterpret_cast<const sockaddr*>(&storage);
  trust.proxy = config::contains(listener.proxy_from, address);
  trust.xclient = config::contains(listener.xclient_from, address);
  trust.xforward = config::contains(listener.xforward_from, address);
  trust.received = config::contains(listener.received_from, address);
  return trust;
}

std::size_t certain_octets(std::string_view so_far) {
  if (so_far.size() < shortest_header) return shortest_header - so_far.size();
  if (so_far.front() != '\r') return 1;  // version 1: up to its CRLF
  if (so_far.size() < v2_start) return v2_start - so_far.size();
  const auto octet = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(so_far[at])); };
  const std::size_t whole = v2_start + octet(14) * 256 + octet(15);
  return whole > so_far.size() ? whole - so_far.size() : 1;
}

void introduce(ClientFacts& client, const protocol::ProxyHeader& header) {
  if (header.local) return;  // the peer's own check of our health
  client.loopback = false;   // somebody stands behind the peer, told or not
  client.front = std::make_shared<const protocol::ProxyHeader>(header);
  if (!header.source || !header.destination) return;
  client.told = true;
  client.ip = to_text(header.source->ip);
  client.port = header.source->port;
  client.destination_ip = to_text(header.destination->ip);
  client.destination_port = header.destination->port;
  client.address = address_text(client);
}

void introduce(ClientFacts& client, const protocol::ClientIdentity& told) {
  client.told = true;
  if (told.addr.state != Attribute::State::absent) {
    client.loopback = false;
    client.front.reset();  // what was told of another one
    client.port = 0;
    client.name.clear();
    client.login.clear();
  }
  take_text(told.addr, client.ip);
  take_port(told.port, client.port);
  take_text(told.name, client.name);
  take_text(told.helo, client.helo);
  take_text(told.login, client.login);
  take_text(told.destaddr, client.destination_ip);
  take_port(told.destport, client.destination_port);
  client.address = address_text(client);
}

// True when the session may begin; otherwise the line for the log is written and the reply, if any, is queued.
Task<bool> SmtpSession::read_proxy_header() {
  if (listener_.proxy_header == config::ProxyHeader::off) co_return true;
  const bool listed = trust_in(listener_, facts_).proxy;
  std::string_view trouble;
  if (listed) trouble = co_await take_proxy_header();
  else introduced_unlisted(Introducing::proxy);
  if (listed && trouble.empty()) {
    const std::optional<std::string_view> farewell = recount();
    if (!farewell) co_return true;
    if (listener_.tls.mode == config::ListenerTlsMode::implicit) co_return false;
    iovec line{const_cast<char*>(farewell->data()), farewell->size()};
    client_->stream().write(&line, 1);
    co_return false;
  }
  if (listed) note(admin::Level::warning, "proxy_header_refused", trouble);
  client_->take_input();  // nobody reads more of it: left where it is, it would end this connection by RST
  if (listener_.tls.mode != config::ListenerTlsMode::implicit)
    end_with(reply::make(421, "4.7.0", "This port is for the proxies in front of it"));
  co_await deliver_replies();
  co_return false;
}

// The limits are those of the client, not of the peer in front of him. The line for one who is over them.
std::optional<std::string_view> SmtpSession::recount() {
  const auto ip = protocol::parse_ip(facts_.ip);
  if (occupancy_ == nullptr || !facts_.told || !ip) return std::nullopt;
  const sockaddr_storage told = socket_address_of(unmapped(*ip));
  std::string_view farewell;
  if (occupancy_->recount(reinterpret_cast<const sockaddr*>(&told), farewell)) return std::nullopt;
  return farewell;
}

// What is wrong with it; empty: nothing.
Task<std::string_view> SmtpSession::take_proxy_header() {
  const io::TimePoint until = scope_.now() + listener_.handshake_timeout;
  const auto version = listener_.proxy_header == config::ProxyHeader::v1   ? protocol::ProxyVersion::v1
                       : listener_.proxy_header == config::ProxyHeader::v2 ? protocol::ProxyVersion::v2
                                                                           : protocol::ProxyVersion::either;
  protocol::ProxyHeaderParser parser(version);
  std::string so_far;
  io::Stream& stream = client_->stream();
  while (true) {
    const io::Scratch space = io::scratch();
    const io::IoResult got = stream.read(space.data, std::min(space.size, certain_octets(so_far)));
    if (got.status == io::IoStatus::would_block) {
      const io::Woken woken = co_await io::Wait(scope_, until, stream.readable);
      if (woken == io::Woken::deadline) co_return "no PROXY header in time";
      continue;
    }
    if (got.status != io::IoStatus::ok) co_return "closed before its PROXY header was complete";
    std::string_view octets(space.data, got.count);
    if (so_far.size() < v2_start) so_far += octets;
    else so_far.resize(so_far.size() + octets.size());  // only their number counts any more
    const auto parsed = parser.feed(octets);
    if (!parsed) co_return parsed.error().reason;
    if (!*parsed) continue;
    introduce(facts_, **parsed);
    co_return std::string_view();
  }
}

// Anybody may try it as often as he likes: who counts writes fewer lines than that.
void SmtpSession::introduced_unlisted(Introducing how) {
  if (occupancy_ != nullptr) occupancy_->introduced_unlisted(how, facts_);
}

// XCLIENT and XFORWARD: from peers that are not listed refused whatever the state is; else XCLIENT needs no EHLO before
// it, in whose reply it would be offered.
std::optional<Reply> SmtpSession::refuse_to_be_told(Verb verb) {
  const Trust trust = trust_in(listener_, facts_);
  if (verb == Verb::xclient ? trust.xclient : trust.xforward)
    return check_legal(state_, verb, protocol::Circumstances(all_to_tell()));
  introduced_unlisted(verb == Verb::xclient ? Introducing::xclient : Introducing::xforward);
  return reply::make(550, "5.7.0", "Insufficient authorization");
}

// XCLIENT (Postfix's XCLIENT_README): the session is where it was before its banner.
Task<> SmtpSession::on_xclient(std::string_view argument) {
  co_await settle();
  if (ending_) co_return;
  // The downstream connection is that user's: nobody else may speak through it.
  if (facts_.authenticated) co_return own(reply::bad_sequence("Already authenticated"));
  const auto told = parse_identity(IdentityVerb::xclient, argument, attribute_names(IdentityVerb::xclient));
  if (!told) co_return own(told.error());
  facts_.helo.clear();
  facts_.esmtp = false;
  facts_.forwarded.reset();
  introduce(facts_, *told);
  if (told->addr.state != Attribute::State::absent) {
    std::optional<std::string_view> farewell = recount();
    if (farewell) co_return end_with(protocol::ReplyParser().feed(*farewell)->value());
  }
  downstream_->client_changed(ClientChange::told);
  offered_ = protocol::Capabilities();
  greeted_ = false;
  state_ = actual_state();
  client_->queue(greeting(), false);
}

Task<> SmtpSession::on_xforward(std::string_view argument) {
  co_await settle();
  if (ending_) co_return;
  const auto told = parse_identity(IdentityVerb::xforward, argument, attribute_names(IdentityVerb::xforward));
  if (!told) co_return own(told.error());
  protocol::ClientIdentity whole = facts_.forwarded ? *facts_.forwarded : protocol::ClientIdentity();
  merge(whole, *told);
  facts_.forwarded = std::make_shared<const protocol::ClientIdentity>(std::move(whole));
  own(reply::ok());
}

// The sender of this message as the mail server in front of us saw it (F:B6). Nearly all mail has such a field: from peers
// that are not listed it is no attempt at anything, and there is nothing to refuse or to count.
void SmtpSession::note_origin(const Transaction& mail) {
  if (!mail.spool || !trust_in(listener_, facts_).received) return;
  const auto body = protocol::first_received(beginning_of(*mail.spool));
  auto origin = body ? protocol::parse_received_from(*body) : std::nullopt;
  if (origin) facts_.origin = std::make_shared<const protocol::ReceivedFrom>(std::move(*origin));
}

}  // namespace session
