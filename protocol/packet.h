// Values <-> bytes for the messages between our own processes: little-endian integers and length-prefixed strings,
// bounded, never trusting the other side. At most 64 KiB a message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace protocol {

inline constexpr std::size_t max_packet = 65536;  // octets

class PacketWriter {
 public:
  PacketWriter& u8(std::uint8_t value);
  PacketWriter& u32(std::uint32_t value);
  PacketWriter& u64(std::uint64_t value);
  PacketWriter& text(std::string_view value);                // u32 length + octets
  bool fits() const { return bytes_.size() <= max_packet; }  // otherwise no reader takes it
  const std::string& bytes() const { return bytes_; }
  std::string take() { return std::exchange(bytes_, {}); }

 private:
  std::string bytes_;
};

// After any bad read `ok()` is false and all further reads give zero or empty values.
class PacketReader {
 public:
  explicit PacketReader(std::string_view bytes) : rest_(bytes), ok_(bytes.size() <= max_packet) {}
  std::uint8_t u8();
  std::uint32_t u32();
  std::uint64_t u64();
  std::string_view text(std::size_t limit = max_packet);  // longer than limit = bad
  bool ok() const { return ok_; }
  bool complete() const { return ok_ && rest_.empty(); }  // everything read, nothing left over

 private:
  std::string_view take(std::size_t count);
  std::string_view rest_;
  bool ok_;
};

}  // namespace protocol
