// The octets of one message: held by the request, or read from its descriptor whatever its file offset, copied when small
// and mapped when large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace scanner {

class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { close(); }

  // Makes exactly `size` octets from offset 0 readable; false = the file is shorter, longer or unreadable.
  // Valid until the next open() or close(). Nobody may shorten the file meanwhile.
  bool open(int fd, std::uint64_t size);
  // Octets that somebody else holds until the next open(), view() or close().
  void view(std::string_view octets);
  void close();
  std::string_view octets() const { return octets_; }

 private:
  bool copy(int fd, std::size_t size);
  bool map(int fd, std::uint64_t size);

  std::vector<char> copied_;
  void* mapped_ = nullptr;
  std::string_view octets_;
};

}  // namespace scanner
