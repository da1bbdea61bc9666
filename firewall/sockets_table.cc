#include "firewall/sockets_table.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

namespace firewall {
namespace {

constexpr unsigned listen_state = 0x0A;

template <class Number>
bool parse_number(std::string_view text, Number& number, int base) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return failure == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// "0100007F:0019": words of the address in the byte order of the host.
bool parse_end(std::string_view text, Version version, std::string& address, std::uint16_t& port) {
  const std::size_t words = version == Version::v4 ? 1 : 4;
  if (text.size() != words * 8 + 5 || text[words * 8] != ':') return false;
  std::array<std::uint32_t, 4> raw{};
  for (std::size_t i = 0; i < words; ++i)
    if (!parse_number(text.substr(i * 8, 8), raw[i], 16)) return false;
  std::array<char, INET6_ADDRSTRLEN> space{};
  if (::inet_ntop(version == Version::v4 ? AF_INET : AF_INET6, raw.data(), space.data(), space.size()) == nullptr)
    return false;
  address = space.data();
  return parse_number(text.substr(words * 8 + 1), port, 16);
}

bool parse_line(const std::string& line, Version version, TcpSocket& socket) {
  std::istringstream words(line);
  std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
  unsigned state = 0;
  if (fields.size() < 10 || !parse_end(fields[1], version, socket.local, socket.local_port) ||
      !parse_end(fields[2], version, socket.remote, socket.remote_port) || !parse_number(fields[3], state, 16) ||
      !parse_number(fields[7], socket.uid, 10))
    return false;
  socket.listening = state == listen_state;
  socket.accepted = fields[9] != "0";  // the inode
  return true;
}

}  // namespace

std::vector<TcpSocket> parse_sockets(std::string_view text, Version version) {
  std::vector<TcpSocket> found;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);)
    if (TcpSocket socket; parse_line(line, version, socket)) found.push_back(std::move(socket));
  return found;
}

std::vector<TcpSocket> read_sockets(Version version) {
  std::ifstream file(version == Version::v4 ? "/proc/net/tcp" : "/proc/net/tcp6");
  return parse_sockets(std::string{std::istreambuf_iterator<char>(file), {}}, version);
}

}  // namespace firewall
