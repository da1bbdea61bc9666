#include "proxy/session/end_of_data.h"

#include <algorithm>

#include "proxy/judge/policy.h"
#include "proxy/session/mixed_replies.h"

namespace session {

using io::Task;

namespace {

// The nursery kills a worker at the limit and says so; this much later nobody waits for its word any more.
constexpr io::Duration report_grace = std::chrono::milliseconds(500);

scanner::Report out_of_time() {
  scanner::Finding finding;
  finding.outcome = scanner::Outcome::unscannable;
  finding.unscannable = scanner::Unscannable::time;
  scanner::Report report;
  report.findings.push_back(std::move(finding));
  return report;
}

bool is_gone(ClientLeg& client) {
  client.take_input();
  return client.left();
}

// Nothing when the client went away while it waited.
Task<std::optional<scanner::Report>> scan(Transaction& mail, const Services& services, ClientLeg& client,
                                          Downstream& downstream, io::Scope& scope) {
  const config::Limits& limits = services.config->limits;
  const io::TimePoint until = mail.times.final_dot + limits.scan_wait + report_grace;
  const auto job = services.scanner->start(*mail.spool, limits.scan_limit);
  while (true) {
    std::optional<scanner::Report> report = job->report();
    if (report) co_return report;
    const io::TimePoint now = scope.now();
    if (now >= until) break;
    const io::TimePoint wake = std::min(until, downstream.keep_alive(now));
    if (client.has_more()) co_await io::Yield(scope);
    else co_await io::Wait(scope, wake, job->done(), client.readable(), downstream.stirred());
    if (is_gone(client)) co_return std::nullopt;
    downstream.look();
  }
  job->overdue();
  co_return out_of_time();
}

Task<> relay(Transaction& mail, const ClientFacts& facts, const Services& services, ClientLeg& client,
             Downstream& downstream, io::Scope& scope) {
  std::string added = mail.hidden ? std::string() : mail.trace_field + mail.verdict.added_field;
  // A message without a header section gets one of ours alone: nothing of the client's goes into our fields (T:A9).
  if (!added.empty() && mail.spool->begins_with_blank()) added += "\r\n";
  Parcel parcel(mail.envelope, *mail.spool, mail.counts.dot_lines, added, mail.trace_id, facts,
                mail.slot, client, mail.times.final_dot + services.config->limits.answer_within, mail.by_data);
  Delivery delivery = co_await downstream.deliver(parcel);
  mail.times.relay_end = scope.now();
  mail.relay = downstream.address();
  mail.reply = delivery.each.empty() ? std::move(delivery.reply) : combined(delivery.each, mail.envelope.recipients);
  mail.each = std::move(delivery.each);
  mail.settled = std::move(delivery.settled);
  mail.end = delivery.client_gone ? End::client_gone : delivery.unknown ? End::unknown : End::answered;
}

}  // namespace

judge::Facts facts_of(const Transaction& mail, const ClientFacts& client) {
  judge::Facts known;
  known.trace_id = mail.trace_id;
  known.tls = client.tls ? client.tls : told_tls(client);
  known.tls_told = known.tls && !client.tls;
  return known;
}

Task<> finish(Transaction& mail, const ClientFacts& facts, const Services& services, ClientLeg& client,
              Downstream& downstream, io::Scope& scope) {
  mail.reply = mail.refusal;
  if (!mail.refusal) {
    judge::Facts known = facts_of(mail, facts);
    known.scanned = services.scanner != nullptr;
    if (known.scanned) {
      std::optional<scanner::Report> report = co_await scan(mail, services, client, downstream, scope);
      mail.times.scan_end = scope.now();
      if (!report) {
        mail.end = End::client_gone;
        co_return;
      }
      known.report = std::move(*report);
    }
    mail.verdict = judge::judge(services.config->defaults, known);
    mail.judged = true;
    mail.reply = mail.verdict.reply;
  }
  if (!mail.reply) {
    co_await relay(mail, facts, services, client, downstream, scope);
    co_return;
  }
  mail.end = End::answered;
  downstream.forget_transaction();
}

}  // namespace session
