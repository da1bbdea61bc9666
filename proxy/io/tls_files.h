// The files that a config names for TLS (certificates, keys, CAs), read whole: by whoever may read the keys, for the
// process that may not. The proxy never opens them itself.
//
// Keys lie in the memory of whoever holds a TlsFiles: make one as late and keep it as short as possible. A sealed memfd
// (seal, unseal) brings it to another process; a process that only holds the descriptor has no key in its memory.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "scanner/packet_socket.h"

namespace io {

// Where the config is wrong (a JSON pointer into the merged config), and how.
struct TlsProblem {
  TlsProblem(std::string at, std::string what, bool only_warning = false)
      : pointer(std::move(at)), text(std::move(what)), warning(only_warning) {}
  std::string pointer;  // "/listeners/0/tls/certificates/1/key"
  std::string text;
  bool warning;
};

class TlsFiles {
 public:
  // The bundle of Debian's ca-certificates, for downstreams that are verified without a `ca` of their own.
  static constexpr const char* system_ca = "/etc/ssl/certs/ca-certificates.crt";

  TlsFiles() = default;
  TlsFiles(TlsFiles&&) noexcept = default;
  TlsFiles& operator=(TlsFiles&&) noexcept = default;
  TlsFiles(const TlsFiles&) = delete;
  TlsFiles& operator=(const TlsFiles&) = delete;
  ~TlsFiles();  // overwrites the keys

  // Reads every file that the config names; what cannot be read is added to `problems`. A CA may be a directory: all of
  // its files *.pem, *.crt and *.cer. At most 4 MiB a file, 32 MiB together.
  static TlsFiles read(const config::Config& config, std::vector<TlsProblem>& problems);

  void put(std::string path, std::string content) { contents_[std::move(path)] = std::move(content); }
  // nullptr: was not read.
  const std::string* find(const std::string& path) const;

  // A memfd with everything, sealed against change, or errno.
  std::expected<scanner::OwnedFd, int> seal() const;
  // Nothing if the descriptor holds no such thing. Reads from the start, whatever its offset; does not close it.
  static std::optional<TlsFiles> unseal(int fd);

 private:
  std::map<std::string, std::string> contents_;
};

}  // namespace io
