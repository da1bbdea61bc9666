// Whether rules that are in force do what they are for: connections are made that must be intercepted, and they really
// are, or it is said why not. Needs root. It changes no rule.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "firewall/apply.h"

namespace firewall {

enum class Result {
  proven,     // a connection was made, and it came to the listener
  inspected,  // it could not be tried; the rule is there
  failed,
};
std::string_view to_string(Result result);

// Of one listener, scope and family.
struct Proof {
  std::string listener;
  config::Scope scope{};
  Version version{};
  Result result = Result::failed;
  std::string sentence;  // what was tried, and what came of it
  bool over_limit = false;  // the gate took no more connections: the rest was not tried
};

// Something about this host.
struct Fault {
  std::string what, mend;
  bool operator==(const Fault&) const = default;
};

// A connection to a server elsewhere from an address that is not ours (spoof.cc). Both are of one family.
struct Spoof {
  config::Endpoint from, to;
  Version version() const;
  std::string source() const, server() const;  // as text; the server with its port
};
// Of ADDRESS and ADDRESS:PORT; nothing when they are none.
std::optional<Spoof> spoof_of(const std::string& from, const std::string& to);
// Nothing: what the server answers comes back through this host.
std::optional<Fault> try_spoof(const Spoof& spoof, const Facts& facts);

struct Verification {
  std::vector<Proof> proofs;
  std::optional<Result> spoof;  // of that in the options
  std::vector<Fault> faults;
  std::vector<std::string> warnings;  // what may be meant so, or was not looked at: sentences
  bool good() const;  // nothing failed, and no fault was found
};

struct VerifyOptions {
  std::string directory = default_state_directory;
  std::optional<Spoof> spoof{};
};

// The error: not root, nothing in force, or no network to test from.
std::expected<Verification, Failure> verify(const config::Config& config, const VerifyOptions& options);

// What is wrong with this host for these rules, without a connection (diagnosis.cc).
std::vector<Fault> diagnose(const config::Config& config, const Plan& in_force, const Facts& facts);

// What may be wrong, or may be meant so (diagnosis.cc).
std::vector<std::string> doubts(const config::Config& config, const Facts& facts, const VerifyOptions& options);

// Whether anybody decides on the first packets of these connections (diagnosis.cc). The kernel is asked now.
bool gate_answers(const Rules& rules, const Diversion& diversion);

class TestNetwork;
// What proofs are made of. `diversion` is one of `rules`.
struct Subject {
  const Diversion& diversion;
  const Rules& rules;
  const Plan& in_force;
  const Facts& facts;
  const TestNetwork& network;
  std::uint32_t connections = 0;  // that the gate takes from one client in a minute; 0 = any number
  bool proven = false;            // of the listener, by a connection before
};

// One connection through one rule to each of its ports (proof.cc); the worst result counts. `by`: the interface that
// they are received by, whose addresses are tried first.
Proof prove(const Subject& subject, const std::string& by);

// The same by each interface where the rule diverts, as far as that can be tried, and what of others is in the way
// (arrivals.cc).
struct Proven {
  std::vector<Proof> proofs;
  std::vector<Fault> faults;
};
Proven prove_everywhere(const Subject& subject);

}  // namespace firewall
