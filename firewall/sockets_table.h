// The TCP sockets of this host, as proc(5) lists them in /proc/net/tcp and /proc/net/tcp6.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/rules.h"

namespace firewall {

struct TcpSocket {
  std::string local, remote;  // addresses without ports, as inet_ntop writes them
  std::uint16_t local_port = 0, remote_port = 0;
  bool listening = false;
  std::uint32_t uid = 0;  // of whoever has made or accepted it
  bool accepted = false;  // somebody has it; before that the kernel alone does
  bool operator==(const TcpSocket&) const = default;
};

// Of the text of such a file; lines that are none are skipped.
std::vector<TcpSocket> parse_sockets(std::string_view text, Version version);
std::vector<TcpSocket> read_sockets(Version version);

}  // namespace firewall
