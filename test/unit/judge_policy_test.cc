// The default verdicts of the contract as a table: outcome x setting -> action, reply, field, log status.
#include <doctest/doctest.h>

#include <algorithm>

#include "proxy/judge/policy.h"

namespace {

using config::Action;
using scanner::Failure;
using scanner::Finding;
using scanner::Outcome;
using scanner::Unscannable;

judge::Facts facts_with(Outcome outcome, Unscannable unscannable = Unscannable::none, Failure failure = Failure::none,
                        std::string name = {}) {
  Finding finding;
  finding.outcome = outcome;
  finding.unscannable = unscannable;
  finding.failure = failure;
  finding.name = std::move(name);
  judge::Facts facts;
  facts.trace_id = "abc.1";
  facts.report.findings.push_back(std::move(finding));
  return facts;
}

TEST_CASE("defaults: what each outcome becomes") {
  struct Row {
    judge::Facts facts;
    Action action;
    std::string reply;  // empty = relayed
    std::string field;
    std::string status;
  };
  const Row rows[] = {
      {facts_with(Outcome::infected, {}, {}, "Eicar-Test"), Action::refuse,
       "550 5.7.1 Message refused: it contains malware [abc.1]", "", "VIRUS:Eicar-Test"},
      {facts_with(Outcome::suspicious, {}, {}, "Heuristics.Phishing"), Action::relay, "",
       "X-Gatepost-Verdict: suspicious (Heuristics.Phishing)\r\n", "SUSPICIOUS:Heuristics.Phishing"},
      {facts_with(Outcome::unscannable, Unscannable::encrypted), Action::refuse,
       "550 5.7.1 Message cannot be scanned (encrypted) [abc.1]", "", "UNSCANNABLE:encrypted"},
      {facts_with(Outcome::unscannable, Unscannable::recursion), Action::refuse,
       "550 5.7.1 Message cannot be scanned (recursion) [abc.1]", "", "UNSCANNABLE:recursion"},
      {facts_with(Outcome::unscannable, Unscannable::size), Action::refuse,
       "550 5.7.1 Message cannot be scanned (size) [abc.1]", "", "UNSCANNABLE:size"},
      {facts_with(Outcome::unscannable, Unscannable::files), Action::refuse,
       "550 5.7.1 Message cannot be scanned (files) [abc.1]", "", "UNSCANNABLE:files"},
      {facts_with(Outcome::unscannable, Unscannable::limit), Action::refuse,
       "550 5.7.1 Message cannot be scanned (limit) [abc.1]", "", "UNSCANNABLE:limit"},
      // Time is ours, not the message's: the client may try again.
      {facts_with(Outcome::unscannable, Unscannable::time), Action::defer,
       "451 4.7.1 Message cannot be scanned (time) [abc.1]", "", "UNSCANNABLE:time"},
      {facts_with(Outcome::error, {}, Failure::crashed), Action::defer,
       "451 4.7.1 Message could not be scanned, please try again later [abc.1]", "", "ERROR:crashed"},
      {facts_with(Outcome::error, {}, Failure::not_ready), Action::defer,
       "451 4.7.1 Message could not be scanned, please try again later [abc.1]", "", "ERROR:not_ready"},
  };
  for (const Row& row : rows) {
    const judge::Verdict verdict = judge::judge(config::Defaults(), row.facts);
    CAPTURE(row.status);
    CHECK(verdict.action == row.action);
    CHECK((verdict.reply ? to_text(*verdict.reply) : "") == row.reply);
    CHECK(verdict.added_field == row.field);
    CHECK(verdict.status == row.status);
  }
}

TEST_CASE("clean is relayed without a trace") {
  judge::Facts facts;
  const judge::Verdict verdict = judge::judge(config::Defaults(), facts);
  CHECK(verdict.relays());
  CHECK(verdict.added_field.empty());
  CHECK(verdict.status == "CLEAN");
}

TEST_CASE("nothing scanned is never called clean") {
  judge::Facts facts;
  facts.scanned = false;
  CHECK(judge::judge(config::Defaults(), facts).status == "UNSCANNED");
}

TEST_CASE("a site that relays what could not be scanned marks it") {
  config::Defaults defaults;
  defaults.unscannable.encrypted = Action::relay;
  defaults.error = Action::relay;
  CHECK(judge::judge(defaults, facts_with(Outcome::unscannable, Unscannable::encrypted)).added_field ==
        "X-Gatepost-Verdict: unscannable (encrypted)\r\n");
  CHECK(judge::judge(defaults, facts_with(Outcome::error, {}, Failure::crashed)).added_field ==
        "X-Gatepost-Verdict: error (crashed)\r\n");
  // One key allows one reason, not its neighbours.
  CHECK(!judge::judge(defaults, facts_with(Outcome::unscannable, Unscannable::size)).relays());
}

TEST_CASE("the gravest finding decides") {
  config::Defaults defaults;
  defaults.unscannable.encrypted = Action::relay;
  judge::Facts facts = facts_with(Outcome::unscannable, Unscannable::encrypted);
  facts.report.findings.push_back(facts_with(Outcome::infected, {}, {}, "Virus").report.findings.front());
  CHECK(judge::judge(defaults, facts).status == "VIRUS:Virus");
}

TEST_CASE("one reason that a site relays does not hide another that it refuses") {
  config::Defaults defaults;
  defaults.unscannable.encrypted = Action::relay;
  for (const bool encrypted_first : {true, false}) {
    judge::Facts facts =
        facts_with(Outcome::unscannable, encrypted_first ? Unscannable::encrypted : Unscannable::recursion);
    facts.report.findings.push_back(
        facts_with(Outcome::unscannable, encrypted_first ? Unscannable::recursion : Unscannable::encrypted)
            .report.findings.front());
    CHECK(judge::judge(defaults, facts).status == "UNSCANNABLE:recursion");
  }
  defaults.suspicious = Action::refuse;
  judge::Facts facts = facts_with(Outcome::unscannable, Unscannable::encrypted);
  facts.report.findings.push_back(facts_with(Outcome::suspicious, {}, {}, "Phish").report.findings.front());
  CHECK(judge::judge(defaults, facts).status == "SUSPICIOUS:Phish");
}

TEST_CASE("a signature name cannot break a header field or a log line") {
  config::Defaults defaults;
  const auto facts =
      facts_with(Outcome::suspicious, {}, {}, std::string("a\r\nX-Evil: 1\0\x1b[31m\xff", 19) + std::string(500, 'x'));
  const judge::Verdict verdict = judge::judge(defaults, facts);
  const std::string body = verdict.added_field.substr(0, verdict.added_field.size() - 2);
  CHECK(verdict.added_field.ends_with("\r\n"));
  CHECK(std::all_of(body.begin(), body.end(), [](char c) { return c >= ' ' && c < 0x7f; }));
  CHECK(verdict.added_field.size() < 200);
}

}  // namespace
