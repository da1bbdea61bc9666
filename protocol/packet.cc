#include "protocol/packet.h"

namespace protocol {
namespace {

void append_little_endian(std::string& out, std::uint64_t value, std::size_t octets) {
  for (std::size_t i = 0; i < octets; ++i)
    out.push_back(static_cast<char>(static_cast<unsigned char>(value >> (8 * i))));
}

std::uint64_t little_endian(std::string_view octets) {
  std::uint64_t value = 0;
  for (std::size_t i = octets.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(octets[i - 1]);
  return value;
}

}  // namespace

PacketWriter& PacketWriter::u8(std::uint8_t value) {
  append_little_endian(bytes_, value, 1);
  return *this;
}

PacketWriter& PacketWriter::u32(std::uint32_t value) {
  append_little_endian(bytes_, value, 4);
  return *this;
}

PacketWriter& PacketWriter::u64(std::uint64_t value) {
  append_little_endian(bytes_, value, 8);
  return *this;
}

PacketWriter& PacketWriter::text(std::string_view value) {
  // Longer than a length can say: the packet is too long anyway, fits() tells; the length stays true to the octets.
  const std::string_view sent = value.substr(0, 0xffffffffU);
  u32(static_cast<std::uint32_t>(sent.size()));
  bytes_.append(sent);
  return *this;
}

std::string_view PacketReader::take(std::size_t count) {
  if (!ok_ || rest_.size() < count) {
    ok_ = false;
    return {};
  }
  const std::string_view taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

std::uint8_t PacketReader::u8() { return static_cast<std::uint8_t>(little_endian(take(1))); }
std::uint32_t PacketReader::u32() { return static_cast<std::uint32_t>(little_endian(take(4))); }
std::uint64_t PacketReader::u64() { return little_endian(take(8)); }

std::string_view PacketReader::text(std::size_t limit) {
  const std::uint32_t length = u32();
  if (length > limit) ok_ = false;
  return take(length);
}

}  // namespace protocol
