// `gatepost serve` without a configuration: a first try that needs no MTA, no network and no account. Mail to
// 127.0.0.1:2525 and [::1]:2525 is scanned with test signatures and lands in maildirs under one private directory.
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace admin {

struct Embedded {
  std::string text;                   // for config::load_text
  std::vector<std::string> warnings;  // what is not as usual: another port, no IPv6, signatures that protect nobody
};

// Makes the directory with the signatures in it, and looks for free ports. Empty `state` = /var/lib/gatepost-demo for
// root, else gatepost-demo under $XDG_STATE_HOME or ~/.local/state. The error is one sentence.
std::expected<Embedded, std::string> embedded_defaults(std::string state);

// Writes the test signatures into this directory (made 0755 when missing).
std::expected<void, std::string> write_test_signatures(const std::string& directory);

inline constexpr const char* test_signatures_warning =
    "THE TEST SIGNATURES PROTECT NOBODY: they know the two test files and nothing else. For the real ones: apt-get "
    "install "
    "clamav-freshclam, then \"signatures\": [\"/var/lib/clamav\"] in a configuration file";

// Without an entry in passwd: root runs the children of the embedded defaults as these.
inline constexpr unsigned embedded_proxy_uid = 64525, embedded_keeper_uid = 64526, embedded_scanner_uid = 64527;

}  // namespace admin
