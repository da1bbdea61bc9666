// One copy of a message for one recipient: a file in tmp/, then in new/. A copy that is destroyed before settle() takes
// its file away again, wherever it is.
#pragma once

#include <cstdint>
#include <ctime>
#include <expected>
#include <string>
#include <string_view>

#include "proxy/keeper/failure.h"
#include "proxy/keeper/maildir.h"
#include "scanner/packet_socket.h"

namespace keeper {

// The content in the proxy's descriptor: `size` octets after `prefix`.
struct Content {
  int fd = -1;
  std::uint64_t prefix = 0;
  std::uint64_t size = 0;
};

// Return-Path, Delivered-To, the extra fields and Received with its `for` clause and date, with LF line ends. A path
// with a control character in it would make further header lines: failed.
std::expected<std::string, Failure> top_fields(const Request& request, const Recipient& recipient, std::time_t now);

class Copy {
 public:
  // Writes the fields and the content into tmp/. CRLF becomes LF, as every reader of maildirs on UNIX expects (and as
  // Postfix's and Dovecot's deliveries do); any other octet stays. Content shorter than promised is failed.
  static std::expected<Copy, Failure> write(const std::string& mailbox, UniqueNames& names, std::string_view fields,
                                            const Content& content);
  Copy(Copy&& other) noexcept;
  Copy& operator=(Copy&&) = delete;
  Copy(const Copy&) = delete;
  ~Copy();

  std::expected<void, Failure> sync();     // fsync, then close
  std::expected<void, Failure> publish();  // into new/, as `name,S=<octets>`; never over another file
  std::string directory() const { return mailbox_ + "/new"; }
  void settle() { path_.clear(); }  // durable: the file stays

 private:
  Copy(const std::string& mailbox, std::string name);
  std::string mailbox_, name_;
  std::string path_;  // where the file is now; empty = nothing to take away
  scanner::OwnedFd file_;
  std::uint64_t octets_ = 0;  // of the file
};

}  // namespace keeper
