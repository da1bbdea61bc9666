// The whole contract between proxy and gatepost-scanner.
//
// Over each SOCK_SEQPACKET socket (one per proxy loop) the proxy sends a Request::scan with the message's descriptor
// (readable; `prefix` octets of synthetic header line, then `size` octets of canonical content), or a
// Request::scan_inline that holds these octets itself, and gets exactly one Report with the same id, in any order. Inline
// spares small messages a memfd and its way through three processes; either way the scanner has a copy that nobody else
// can change. Request::cancel drops a job that nobody waits for any more (no report
// follows when it was still queued). The first message from the scanner on each socket is `hello`: signatures are
// loaded, with their count and version text. A scanner that cannot load signatures never says hello and exits with
// EX_CONFIG (78) after one sentence on stderr. A descriptor whose file is not exactly prefix + size octets long is
// error(storage); what is no valid request, or comes without its descriptor, costs the proxy this socket.
// A socket that is closed takes its jobs with it: who sent them is gone.
// The program ends when all sockets are closed, the control socket included; on SIGTERM when everything accepted is
// answered (requests that come later get error(not_ready)); at once on a second SIGTERM. It ignores SIGINT and SIGHUP.
//
// Program: gatepost-scanner [--sockets FD[,FD...]] [--control FD] --settings FD
// with at least one socket of either kind. --settings is a descriptor from which one encoded Settings is read to its end.
// --control is a SOCK_SEQPACKET socket over which more such sockets come: packets `new_socket` with one descriptor.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace scanner {

// A header line in front of each message, so that libclamav sees mail whatever the first real field is (threats.md,
// section 1 item 3b). Part of the spool before offset 0 of the content; never relayed.
inline constexpr std::string_view synthetic_prefix =
    "Received: from gatepost by gatepost; Thu, 01 Jan 1970 00:00:00 +0000\r\n";

struct Request {
  enum class Kind : std::uint8_t { scan, cancel, scan_inline } kind = Kind::scan;
  std::uint64_t id = 0;
  std::uint32_t prefix = 0;    // octets before the content
  std::uint64_t size = 0;      // octets of content
  std::uint32_t limit_ms = 0;  // from acceptance: then a queued job is error(busy), a scan is killed
  std::string_view octets;     // scan_inline: prefix and content; decoded, it points into the packet
  bool operator==(const Request&) const = default;
};
// The most octets, prefix included, that travel inline: above, copying costs more than the descriptor.
inline constexpr std::size_t max_inline = 16384;

std::string encode(const Request& request);
// Prefix and content from two places in one packet.
std::string encode_inline(const Request& request, std::string_view prefix, std::string_view content);
std::expected<Request, std::string_view> decode_request(std::string_view bytes);

struct Hello {
  std::uint64_t signatures = 0;
  std::string version;                // engine and signature version, for logs
  bool test_signatures_only = false;  // the set protects nobody
  bool operator==(const Hello&) const = default;
};
std::string encode(const Hello& hello);
std::expected<Hello, std::string_view> decode_hello(std::string_view bytes);
bool is_hello(std::string_view bytes);  // a Hello, not a Report

inline constexpr std::string_view new_socket = "N";

// Everything the scanner program is told; made by the supervisor from the config.
struct Settings {
  std::string name = "clamav";          // of the scanner in the config, copied into findings
  std::vector<std::string> signatures;  // files or directories
  std::uint32_t workers = 2;            // 1..256
  std::uint32_t queue = 256;            // jobs waiting for a worker before `busy`
  std::uint32_t scan_limit_ms = 60000;  // upper bound for Request::limit_ms
  std::uint64_t memory_limit = 0;       // octets of private memory a worker may add to the shared set (0 = 2 GiB)
  std::uint64_t max_scan_size = 0;      // libclamav's limits; 0 = its own default
  std::uint64_t max_file_size = 0;      // see file_size_limit
  std::uint32_t max_recursion = 0;
  std::uint32_t max_files = 0;
  // Where temporary files go: as root a private tmpfs of a limited size is mounted over it; else, unless it lies on a
  // tmpfs already, a directory in /dev/shm is preferred (temporary.h). Absolute, or empty for only /dev/shm.
  std::string temporary_directory;
  std::uint32_t uid = 0, gid = 0;  // 0 = stay who we are
  bool test_hooks = false;         // markers in the content crash, hang or bloat the worker (tests only)
};
// Octets of a message's content, and of each file in it; larger = unscannable(size). Of a larger message nothing is read.
inline std::uint64_t file_size_limit(const Settings& settings) {
  return settings.max_file_size != 0 ? settings.max_file_size : 100ull << 20;
}
std::string encode(const Settings& settings);
std::expected<Settings, std::string_view> decode_settings(std::string_view bytes);

}  // namespace scanner
