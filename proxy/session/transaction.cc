#include "proxy/session/transaction.h"

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

double seconds_between(io::TimePoint from, io::TimePoint to) {
  if (from == io::TimePoint{} || to == io::TimePoint{} || to < from) return 0;
  return std::chrono::duration<double>(to - from).count();
}

std::string delays(const Times& times) {
  const io::TimePoint scanned = times.scan_end == io::TimePoint{} ? times.final_dot : times.scan_end;
  return fmt::format("{:.3f}/{:.3f}/{:.3f}", seconds_between(times.data_begin, times.final_dot),
                     seconds_between(times.final_dot, times.scan_end), seconds_between(scanned, times.relay_end));
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

}  // namespace

void summarise(admin::Record& record, const Transaction& mail, const ClientFacts& client) {
  record.text("client", client.address).path("helo", client.helo).text("proto", client.esmtp ? "ESMTP" : "SMTP");
  record.text("listener", client.listener);
  record.path("from", mail.envelope.mail.reverse_path ? format(*mail.envelope.mail.reverse_path) : "");
  if (!mail.envelope.recipients.empty()) record.path("to", format(mail.envelope.recipients.front().forward_path));
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
}

}  // namespace session
