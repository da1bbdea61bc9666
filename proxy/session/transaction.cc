#include "proxy/session/transaction.h"

#include <charconv>

#include <fmt/format.h>

namespace session {
namespace {

std::string_view to_string(End end) {
  switch (end) {
    case End::open: return "aborted";
    case End::answered: return "answered";
    case End::client_gone: return "client_gone";
    case End::answer_lost: return "answer_lost";
    case End::unknown: return "unknown";
    case End::reset: return "reset";
  }
  return "aborted";
}

std::string_view action_of(const Transaction& mail) {
  if (mail.refusal) return mail.refusal->permanent() ? "refuse" : "defer";
  if (!mail.judged) return "none";
  switch (mail.verdict.action) {
    case config::Action::relay: return "relay";
    case config::Action::refuse: return "refuse";
    case config::Action::defer: return "defer";
  }
  return "none";
}

// Seconds with three decimals, rounded.
char* put_seconds(char* at, io::TimePoint from, io::TimePoint to) {
  const bool known = from != io::TimePoint{} && to != io::TimePoint{} && to > from;
  const auto whole = known ? std::chrono::round<std::chrono::milliseconds>(to - from).count() : 0;
  at = std::to_chars(at, at + 20, whole / 1000).ptr;
  *at++ = '.';
  for (auto unit = 100; unit > 0; unit /= 10) *at++ = static_cast<char>('0' + whole / unit % 10);
  return at;
}

std::string delays(const Times& times) {
  const io::TimePoint scanned = times.scan_end == io::TimePoint{} ? times.final_dot : times.scan_end;
  char text[80];
  char* at = put_seconds(text, times.data_begin, times.final_dot);
  *at++ = '/';
  at = put_seconds(at, times.final_dot, times.scan_end);
  *at++ = '/';
  return std::string(text, put_seconds(at, scanned, times.relay_end));
}

std::string notes_of(const Transaction& mail) {
  std::string notes;
  const auto add = [&notes](std::uint64_t count, std::string_view name) {
    if (count != 0) notes += fmt::format("{}{}:{}", notes.empty() ? "" : " ", name, count);
  };
  add(mail.counts.bare_lf, "bare_lf");
  add(mail.counts.bare_cr, "bare_cr");
  add(mail.counts.nul, "nul");
  add(mail.counts.longest_line > 998 ? mail.counts.longest_line : 0, "long_line");
  return notes;
}

// Whose mail it is: the client, or whom it names (XFORWARD, the topmost Received field); then it is the peer.
void name_client(admin::Record& record, const ClientFacts& client) {
  if (client.forwarded && !client.forwarded->addr.text.empty()) {
    const protocol::ClientIdentity& told = *client.forwarded;
    record.text("client", told.addr.text).path("helo", told.helo.text).text("told_by", "xforward");
    record.text("peer", client.address);
    if (!told.ident.text.empty()) record.text("ident", told.ident.text);
  } else if (client.origin) {
    record.text("client", to_text(client.origin->ip)).path("helo", client.origin->helo).text("told_by", "received");
    record.text("peer", client.address);
  } else {
    record.text("client", client.address).path("helo", client.helo);
    if (client.told) record.text("peer", client.peer);
  }
}

// What the PROXY header said beside the addresses.
void add_front(admin::Record& record, const protocol::ProxyHeader& header) {
  if (header.tls && header.tls->tls)
    record.text("peer_tls", header.tls->version + (header.tls->cipher.empty() ? "" : "/" + header.tls->cipher));
  if (header.tls && !header.tls->common_name.empty())
    record.text(header.tls->verify == 0 ? "peer_cert" : "peer_cert_unverified", header.tls->common_name);
  if (!header.alpn.empty()) record.text("alpn", header.alpn);
  if (!header.authority.empty()) record.text("authority", header.authority);
  if (!header.unique_id.empty()) record.text("unique_id", header.unique_id);
}

// What the client chose, and showed, in the handshake with us.
void add_tls(admin::Record& record, const io::TlsFacts& tls) {
  record.text("tls", tls.version + "/" + tls.cipher);
  if (!tls.server_name.empty()) record.text("sni", tls.server_name);
  if (!tls.peer) return;
  record.text(tls.peer->verified ? "cert" : "cert_unverified", tls.peer->subject);
  record.text("cert_sha256", tls.peer->fingerprint);
}

}  // namespace

void summarise(admin::Record& record, const Transaction& mail, const ClientFacts& client) {
  name_client(record, client);
  record.text("proto", with_type(transmission_type(client, mail.envelope.mail.parameters.smtputf8)));
  if (client.front) add_front(record, *client.front);
  if (client.tls) add_tls(record, *client.tls);
  if (!client.login.empty()) record.path("login", client.login);
  record.listener(client.listener, client.direction);
  if (client.intercepted) record.text("meant_for", client.intercepted->destination.text);
  std::string address;
  if (mail.envelope.mail.reverse_path) append(address, *mail.envelope.mail.reverse_path);
  record.path("from", address);
  address.clear();
  if (!mail.envelope.recipients.empty()) append(address, mail.envelope.recipients.front().forward_path);
  if (!mail.envelope.recipients.empty()) record.path("to", address);
  record.number("nrcpt", mail.envelope.recipients.size());
  record.number("size", mail.spool ? mail.spool->size() : 0);
  record.text("status", mail.judged ? mail.verdict.status : "NOT_SCANNED").text("action", action_of(mail));
  if (!mail.relay.empty()) record.text("relay", mail.relay);
  record.text("delays", delays(mail.times));
  if (const std::string notes = notes_of(mail); !notes.empty()) record.quoted("notes", notes);
  if (mail.reply) {
    if (mail.reply->enhanced()) record.text("dsn", format(*mail.reply->enhanced()));
    record.quoted("reply", to_text(*mail.reply));
  }
  record.text("outcome", to_string(mail.end));
  // As in the supervisor's line: which message a recipient may have twice (T:C7).
  if (mail.end == End::unknown && mail.spool)
    record.text("hash", fmt::format("{:016x}{:016x}", mail.spool->hash()[0], mail.spool->hash()[1]));
}

}  // namespace session
