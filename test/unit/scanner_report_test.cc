#include <doctest/doctest.h>
#include <string>

#include "scanner/alert.h"
#include "scanner/report.h"

using namespace scanner;

namespace {

Finding finding(Outcome outcome, std::string name = "x") {
  return {outcome, Unscannable::none, Failure::none, "clamav", std::move(name)};
}

Report report_of(std::initializer_list<Outcome> outcomes) {
  Report report;
  for (const Outcome outcome : outcomes) report.findings.push_back(finding(outcome));
  return report;
}

Report example() {
  Report report;
  report.id = 0x0123456789abcdef;
  report.elapsed_us = 4'000'000'000;
  report.findings = {
      {Outcome::infected, Unscannable::none, Failure::none, "clamav", std::string("a\0b\r\n\xff", 6)},
      {Outcome::unscannable, Unscannable::limit, Failure::none, "", ""},
      {Outcome::error, Unscannable::none, Failure::disconnected, std::string(64, 'e'), std::string(256, 'n')}};
  return report;
}

}  // namespace

TEST_CASE("scanner report: the gravest finding decides") {
  CHECK(Report().outcome() == Outcome::clean);
  CHECK(Report().decisive() == nullptr);
  CHECK(report_of({Outcome::clean}).outcome() == Outcome::clean);
  CHECK(report_of({Outcome::clean}).decisive() == nullptr);
  CHECK(report_of({Outcome::suspicious, Outcome::unscannable}).outcome() == Outcome::unscannable);
  CHECK(report_of({Outcome::unscannable, Outcome::error, Outcome::suspicious}).outcome() == Outcome::error);
  CHECK(report_of({Outcome::error, Outcome::infected, Outcome::unscannable}).outcome() == Outcome::infected);
  const Report two = report_of({Outcome::infected, Outcome::infected});
  CHECK(two.decisive() == &two.findings[0]);
}

TEST_CASE("scanner report: failed() is an error and never clean") {
  const Report report = failed(7, Failure::crashed, "SIGSEGV");
  CHECK(report.id == 7);
  CHECK(report.outcome() == Outcome::error);
  CHECK(report.decisive()->failure == Failure::crashed);
  CHECK(report.decisive()->name == "SIGSEGV");
  CHECK(decode_report(encode(failed(1, Failure::engine, std::string(70000, 'x'))))->findings[0].name.size() == 256);
}

TEST_CASE("scanner report: encode and decode agree") {
  CHECK(decode_report(encode(Report())) == Report());
  CHECK(decode_report(encode(example())) == example());
}

TEST_CASE("scanner report: what is too long is cut when written") {
  Report report;
  report.findings = {
      {Outcome::infected, Unscannable::none, Failure::none, std::string(65, 'e'), std::string(257, 'n')}};
  const auto read = decode_report(encode(report));
  REQUIRE(read);
  CHECK(read->findings[0].engine == std::string(64, 'e'));
  CHECK(read->findings[0].name == std::string(256, 'n'));
}

TEST_CASE("scanner report: of too many findings the gravest survives") {
  Report report;
  for (int i = 0; i < 200; ++i) report.findings.push_back(finding(Outcome::suspicious, std::to_string(i)));
  report.findings[150].outcome = Outcome::infected;
  const auto read = decode_report(encode(report));
  REQUIRE(read);
  CHECK(read->findings.size() == 64);
  CHECK(read->outcome() == Outcome::infected);
  CHECK(read->decisive()->name == "150");
}

TEST_CASE("scanner report: malformed packets are refused") {
  const std::string whole = encode(example());
  for (std::size_t length = 0; length < whole.size(); ++length) CHECK(!decode_report(whole.substr(0, length)));
  CHECK(!decode_report(whole + 'x'));
  CHECK(!decode_report('H' + whole.substr(1)));
  const std::size_t count = 1 + 8 + 4;
  const auto changed = [&whole](std::size_t at, int octet) {
    std::string bytes = whole;
    bytes.at(at) = static_cast<char>(octet);
    return decode_report(bytes);
  };
  CHECK(!changed(count, 65));
  CHECK(!changed(count, 255));
  CHECK(!changed(count, 2));       // octets left over
  CHECK(!changed(count + 1, 5));   // outcome
  CHECK(!changed(count + 2, 7));   // reason
  CHECK(!changed(count + 3, 9));   // failure
  CHECK(!changed(count + 4, 65));  // length of the engine's name
  CHECK(!changed(count + 7, 255));
}

TEST_CASE("scanner report: every value has its word") {
  for (int i = 0; i <= static_cast<int>(Outcome::infected); ++i) CHECK(!to_string(static_cast<Outcome>(i)).empty());
  CHECK(to_string(Unscannable::none).empty());
  CHECK(to_string(Failure::none).empty());
  for (int i = 1; i <= static_cast<int>(Unscannable::limit); ++i)
    CHECK(!to_string(static_cast<Unscannable>(i)).empty());
  for (int i = 1; i <= static_cast<int>(Failure::disconnected); ++i) CHECK(!to_string(static_cast<Failure>(i)).empty());
  CHECK(to_string(Outcome::unscannable) == "unscannable");
  CHECK(to_string(Unscannable::recursion) == "recursion");
  CHECK(to_string(Failure::storage) == "storage");
}

TEST_CASE("scanner alert: names of libclamav become findings") {
  struct Case {
    std::string_view alert;
    Outcome outcome;
    Unscannable reason;
  };
  using enum Outcome;
  static constexpr Case cases[] = {
      {"Heuristics.Encrypted.Zip", unscannable, Unscannable::encrypted},
      {"Heuristics.Encrypted.PDF", unscannable, Unscannable::encrypted},
      {"Heuristics.Limits.Exceeded.MaxRecursion", unscannable, Unscannable::recursion},
      {"Heuristics.Limits.Exceeded.MaxFileSize", unscannable, Unscannable::size},
      {"Heuristics.Limits.Exceeded.MaxScanSize", unscannable, Unscannable::size},
      {"Heuristics.Limits.Exceeded.MaxFiles", unscannable, Unscannable::files},
      {"Heuristics.Limits.Exceeded.MaxScanTime", unscannable, Unscannable::time},
      {"Heuristics.Limits.Exceeded.EmailMIMEPartsPerMessage", unscannable, Unscannable::limit},
      {"Heuristics.Limits.Exceeded", unscannable, Unscannable::limit},  // older engines give no reason
      {"Heuristics.Limits.ExceededX", unscannable, Unscannable::limit},
      {"Heuristics.Phishing.Email.SpoofedDomain", suspicious, Unscannable::none},
      {"BC.Heuristics.Something", suspicious, Unscannable::none},
      {"PUA.Win.Tool", suspicious, Unscannable::none},
      {"Win.Test.Heuristics.Encrypted", infected, Unscannable::none},  // not at the start
      {"PUAlike", infected, Unscannable::none},
      {"", infected, Unscannable::none},  // an alert without a name is still one
  };
  for (const Case& c : cases) {
    CAPTURE(c.alert);
    const Finding read = finding_of("clamav", c.alert);
    CHECK(read == Finding{c.outcome, c.reason, Failure::none, "clamav", std::string(c.alert)});
  }
}
