#include "proxy/supervisor/control.h"

#include "protocol/packet.h"

namespace supervisor {
namespace {

constexpr std::uint8_t tag = 'S';
constexpr std::size_t max_text = 256;

}  // namespace

std::string encode(const Message& message) {
  protocol::PacketWriter writer;
  writer.u8(tag).u8(static_cast<std::uint8_t>(message.kind)).u32(message.index);
  writer.text(std::string_view(message.text).substr(0, max_text));
  return writer.take();
}

std::optional<Message> decode(std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  if (reader.u8() != tag) return std::nullopt;
  Message message;
  const std::uint8_t kind = reader.u8();
  if (kind < static_cast<std::uint8_t>(Message::Kind::scanner_socket) ||
      kind > static_cast<std::uint8_t>(Message::Kind::full))
    return std::nullopt;
  message.kind = Message::Kind{kind};
  message.index = reader.u32();
  message.text = reader.text(max_text);
  if (!reader.complete()) return std::nullopt;
  return message;
}

}  // namespace supervisor
