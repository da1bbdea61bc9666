// A scanner for one command: started, asked, ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <functional>
#include <string>

#include "scanner/job.h"
#include "scanner/packet_socket.h"
#include "scanner/report.h"

namespace admin {

class PrivateScanner {
 public:
  // Waits until the signatures are loaded. The error is what the scanner said.
  static std::expected<PrivateScanner, std::string> start(const scanner::Settings& settings);
  PrivateScanner(PrivateScanner&& other) noexcept;
  PrivateScanner& operator=(PrivateScanner&&) = delete;
  PrivateScanner(const PrivateScanner&) = delete;
  ~PrivateScanner();  // closes the socket and waits for its end

  const scanner::Hello& hello() const { return hello_; }
  // `content` is a descriptor with the synthetic line in front of `size` octets. Never fails: whatever goes wrong is a
  // report with outcome error.
  scanner::Report scan(int content, std::uint64_t size, std::uint32_t limit_ms);

 private:
  PrivateScanner() = default;
  bool receive(std::string& packet, int timeout_ms);
  std::string words();

  pid_t pid_ = -1;
  scanner::OwnedFd socket_, said_;
  scanner::Hello hello_;
  std::uint64_t last_id_ = 0;
};

}  // namespace admin
