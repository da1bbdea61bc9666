// The whole configuration: one immutable, fully checked value. Loaded by load.h; every key stands in settings*.cc.
#pragma once

#include <sys/socket.h>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace config {

using std::chrono::milliseconds;

// A socket address: literal in the config, or one of the addresses that a name had when the config was loaded.
struct Endpoint {
  std::string text;  // as in the config, for messages
  sockaddr_storage address{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

enum class Protocol { smtp };

enum class LineEnds { normalize, refuse };  // bare LF and bare CR in content
// A client's FIN before our answer, without QUIT: gone, or only done with sending (dialogue.md D3).
enum class HalfClose { abort, finish };
enum class Nul { refuse, pass };            // NUL in content

struct Listener {
  std::string name;
  Protocol protocol = Protocol::smtp;
  Endpoint address;
  std::string downstream;
  milliseconds command_timeout{300'000};    // from one reply of ours to the next complete command
  milliseconds data_timeout{600'000};       // whole content, first octet to final dot
  milliseconds data_idle_timeout{180'000};  // between two pieces of content
  std::uint64_t min_data_rate = 100;        // octets per second after the first 30 s; 0 = off
  milliseconds early_talker_wait{0};        // time before the banner in which the client must stay silent
  std::uint32_t max_errors = 20;            // 4yz/5yz of ours or of the downstream, then 421 4.7.0
  std::uint32_t max_junk = 100;             // NOOP, RSET, VRFY, HELP, HELO without a message between, then 421 4.7.0
  std::uint32_t max_recipients = 1000;      // per transaction, then 452 4.5.3
  std::uint32_t max_sessions = 10'000;      // at once, per listener; past it 421 4.3.2
  std::uint64_t max_message = 50u << 20;    // octets of content, then 552 5.3.4; 0 = only the downstream's limit
  LineEnds line_ends = LineEnds::normalize;
  HalfClose half_close = HalfClose::abort;
  Nul nul = Nul::refuse;
};

struct Downstream {
  std::string name;
  Protocol protocol = Protocol::smtp;
  // exactly one of:
  std::vector<Endpoint> servers;    // tried in order
  std::optional<std::string> path;  // maildir; may hold %local and %domain
  bool create = false;              // maildir: make a missing mailbox; otherwise 550 5.1.1
  bool accept_source_loss = false;  // the server may take our address for the client's, and the administrator knows
  milliseconds connect_timeout{10'000};   // per server
  milliseconds greeting_timeout{60'000};  // banner and EHLO
  milliseconds reply_timeout{100'000};    // MAIL, RCPT, RSET, DATA
  milliseconds keepalive{30'000};         // NOOP while the client sends and while we scan; 0 = off
};

struct Scanner {
  std::string name;
  std::string engine = "libclamav";
  std::vector<std::string> signatures;  // files or directories
  std::uint32_t workers = 2;
  std::uint32_t queue = 256;
  std::uint64_t memory = 2048ull << 20;
  std::uint64_t max_scan_size = 400ull << 20;
  std::uint64_t max_file_size = 100ull << 20;
  std::uint32_t max_recursion = 17;
  std::uint32_t max_files = 10'000;
  bool test_hooks = false;
};

enum class Action { refuse, defer, relay };  // relay of anything but clean adds X-Gatepost-Verdict

struct Unscannable {
  Action encrypted = Action::refuse;
  Action size = Action::refuse;
  Action recursion = Action::refuse;
  Action files = Action::refuse;
  Action time = Action::defer;
  Action limit = Action::refuse;
};
struct Defaults {
  Action infected = Action::refuse;
  Action suspicious = Action::relay;
  Action error = Action::defer;  // refuse is not offered: our faults are no 5yz
  Unscannable unscannable;
};

struct Spool {
  std::string directory = "/var/spool/gatepost";
  std::uint64_t memory = 256u << 10;          // per message; above it a file
  std::uint64_t total_memory = 256ull << 20;  // all messages of all loops together
};

struct Limits {
  milliseconds answer_within{240'000};
  milliseconds relay_wait{150'000};
  milliseconds min_relay_wait{30'000};
  milliseconds scan_wait{60'000};
  milliseconds scan_limit{60'000};
  milliseconds drain{60'000};  // on TERM: how long running transactions may take
};

enum class LogFormat { text, json };
struct Log {
  LogFormat format = LogFormat::text;
  std::string to = "stderr";  // stderr | syslog | an absolute file name
};

struct Users {  // names or numbers; looked up when the config is loaded
  std::string proxy = "gatepost";
  std::string keeper = "gatepost-keeper";
  std::string scanner = "gatepost-scanner";
};
struct Account {
  std::uint32_t uid = 0, gid = 0;
};

struct Config {
  std::string hostname;     // default: gethostname()
  std::uint32_t loops = 0;  // proxy threads; 0 = one per processor
  std::string state_directory = "/var/lib/gatepost";
  std::vector<Listener> listeners;
  std::map<std::string, Downstream> downstreams;
  std::vector<Scanner> scanners;  // file order; at most one so far
  Defaults defaults;
  Spool spool;
  Limits limits;
  Log log;
  Users users;
  Account proxy_account, keeper_account, scanner_account;  // from users; not root: our own
  const Downstream& downstream_of(const Listener& listener) const { return downstreams.at(listener.downstream); }
};

}  // namespace config
