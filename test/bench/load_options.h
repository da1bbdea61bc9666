// Command line of smtp_load and bare_scan: the options both share have the same name and meaning.
#pragma once

#include <netinet/in.h>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

struct LoadOptions {
  sockaddr_in to{};                     // --to HOST:PORT (IPv4 literal)
  std::size_t connections = 8;          // --connections: at once
  std::uint64_t messages = 1000;        // --messages: in all
  std::size_t size = 2048;              // --size: octets of content, with K or M
  std::string corpus;                   // --corpus DIR instead of --size
  std::uint64_t seed = 1;               // --seed
  double rate = 0;                      // --rate: messages per second, open loop; 0 = as fast as replies come
  std::size_t idle = 0;                 // --idle N: no messages, N connections held after EHLO
  in_addr from{};                       // --from ADDRESS: the first of the sources; 127.0.0.1 where `to` is loopback
  unsigned sources = 4;                 // --sources K: connect from that address and the K-1 next ones in turn
  std::chrono::seconds stall{60};       // --stall: give up after so many seconds without any progress
  bool reuse = false;                   // --reuse: many messages per connection
  bool tls = false;                     // --tls: from the first octet, every handshake in full
  bool tls_resume = false;              // --tls-resume: the same, resumed by the ticket of the connection before
  bool per_command = false;             // --per-command: how long each command waited for its reply
  bool pipelining = false;              // --pipelining: MAIL, RCPT and DATA in one write
  bool hold_before_dot = false;         // --hold-before-dot
  std::vector<std::string> signatures;  // --signatures FILE|DIR, again and again (bare_scan)
  std::string temporary = "/dev/shm";   // --temporary DIR (bare_scan)
};

// Prints `usage` to stdout and exits with 0 on --help; one sentence to stderr and exit status 64 when something is
// wrong.
LoadOptions parse_options(int argc, char** argv, const char* usage);

}  // namespace bench
