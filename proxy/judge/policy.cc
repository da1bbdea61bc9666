#include "proxy/judge/policy.h"

#include <string>
#include <utility>

namespace judge {
namespace {

using config::Action;
using scanner::Failure;
using scanner::Finding;
using scanner::Outcome;
using scanner::Unscannable;

constexpr std::size_t longest_name = 128;  // octets of a signature name in a header field or log line

// Signature names come from files that others write: printable ASCII without anything that could end a field (T:A9).
std::string printable(std::string_view raw) {
  std::string text;
  for (const char c : raw.substr(0, longest_name)) text += c > ' ' && c < 0x7f ? c : '?';
  return text;
}

Action unscannable_action(const config::Defaults& defaults, Unscannable reason) {
  switch (reason) {
    case Unscannable::encrypted:
      return defaults.unscannable.encrypted;
    case Unscannable::size:
      return defaults.unscannable.size;
    case Unscannable::recursion:
      return defaults.unscannable.recursion;
    case Unscannable::files:
      return defaults.unscannable.files;
    case Unscannable::time:
      return defaults.unscannable.time;
    case Unscannable::limit:
    case Unscannable::none:
      break;
  }
  return defaults.unscannable.limit;
}

Action action_for(const config::Defaults& defaults, const Finding& finding) {
  switch (finding.outcome) {
    case Outcome::clean:
      return Action::relay;
    case Outcome::suspicious:
      return defaults.suspicious;
    case Outcome::infected:
      return defaults.infected;
    case Outcome::unscannable:
      return unscannable_action(defaults, finding.unscannable);
    case Outcome::error:
      break;
  }
  return defaults.error;
}

int strictness(Action action) { return action == Action::refuse ? 2 : action == Action::defer ? 1 : 0; }

int gravity(Outcome outcome) {
  switch (outcome) {
    case Outcome::clean:
      return 0;
    case Outcome::suspicious:
      return 1;
    case Outcome::unscannable:
      return 2;
    case Outcome::error:
      return 3;
    case Outcome::infected:
      return 4;
  }
  return 4;
}

// The finding that decides: the strictest action of all, then the gravest outcome. A site that relays encrypted
// archives must not thereby relay one that was also too deep to be scanned.
const Finding* strictest(const config::Defaults& defaults, const scanner::Report& report) {
  const Finding* chosen = nullptr;
  const auto rank = [&defaults](const Finding& f) {
    return std::pair(strictness(action_for(defaults, f)), gravity(f.outcome));
  };
  for (const Finding& finding : report.findings)
    if (chosen == nullptr || rank(finding) > rank(*chosen)) chosen = &finding;
  return chosen;
}

// What the finding says, for the field and the log: "encrypted", "crashed", a signature name.
std::string detail_of(const Finding& finding) {
  if (finding.outcome == Outcome::unscannable) return std::string(to_string(finding.unscannable));
  if (finding.outcome == Outcome::error) return std::string(to_string(finding.failure));
  return printable(finding.name);
}

std::string status_of(Outcome outcome, const std::string& detail) {
  switch (outcome) {
    case Outcome::clean:
      return "CLEAN";
    case Outcome::suspicious:
      return "SUSPICIOUS:" + detail;
    case Outcome::infected:
      return "VIRUS:" + detail;
    case Outcome::unscannable:
      return "UNSCANNABLE:" + detail;
    case Outcome::error:
      break;
  }
  return "ERROR:" + detail;
}

// Signature names are not told to clients: they help whoever tests his malware against us.
std::string sentence_for(Outcome outcome, const std::string& detail) {
  switch (outcome) {
    case Outcome::infected:
      return "Message refused: it contains malware";
    case Outcome::suspicious:
      return "Message refused: its content looks malicious";
    case Outcome::unscannable:
      return "Message cannot be scanned (" + detail + ")";
    case Outcome::clean:
    case Outcome::error:
      break;
  }
  return "Message could not be scanned, please try again later";
}

protocol::Reply reply_for(Action action, Outcome outcome, const std::string& detail, const std::string& trace_id) {
  const std::string text = sentence_for(outcome, detail) + " [" + trace_id + "]";
  return action == Action::refuse ? protocol::reply::make(550, "5.7.1", text)
                                  : protocol::reply::make(451, "4.7.1", text);
}

}  // namespace

Verdict judge(const config::Defaults& defaults, const Facts& facts) {
  Verdict verdict;
  verdict.scanned = facts.scanned;
  verdict.action = Action::relay;
  verdict.outcome = Outcome::clean;
  verdict.status = facts.scanned ? "CLEAN" : "UNSCANNED";
  if (!facts.scanned) return verdict;
  const Finding* finding = strictest(defaults, facts.report);
  if (finding == nullptr) return verdict;
  verdict.outcome = finding->outcome;
  verdict.action = action_for(defaults, *finding);
  const std::string detail = detail_of(*finding);
  verdict.status = status_of(verdict.outcome, detail);
  if (!verdict.relays()) {
    verdict.reply = reply_for(verdict.action, verdict.outcome, detail, facts.trace_id);
  } else if (verdict.outcome != Outcome::clean) {
    verdict.added_field =
        std::string(verdict_field) + ": " + std::string(to_string(verdict.outcome)) + " (" + detail + ")\r\n";
  }
  return verdict;
}

}  // namespace judge
