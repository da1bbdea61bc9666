// Packets between processes: reading never goes past the end, and what was read writes the same bytes again.
#include <algorithm>
#include <string>

#include "protocol/packet.h"
#include "split.h"

namespace {

// Reads with a sequence of operations drawn from `operations`, writing down what was read.
void read_and_write(std::string_view operations, std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  protocol::PacketWriter writer;
  PROPERTY(reader.ok() == (bytes.size() <= protocol::max_packet));
  for (const char operation : operations) {
    std::string_view text;
    std::uint64_t number = 0;
    switch (operation & 3) {
      case 0:
        writer.u8(static_cast<std::uint8_t>(number = reader.u8()));
        break;
      case 1:
        writer.u32(static_cast<std::uint32_t>(number = reader.u32()));
        break;
      case 2:
        writer.u64(number = reader.u64());
        break;
      default:
        writer.text(text = reader.text(static_cast<unsigned char>(operation) >= 128 ? 100 : protocol::max_packet));
    }
    if (!reader.ok()) {
      PROPERTY(number == 0 && text.empty() && !reader.complete());
      PROPERTY(reader.u64() == 0 && reader.text().empty() && !reader.ok());
      return;
    }
    PROPERTY(bytes.starts_with(writer.bytes()));
    PROPERTY(reader.complete() == (writer.bytes().size() == bytes.size()));
  }
}

void write_and_read(std::string_view input) {
  protocol::PacketWriter writer;
  const std::uint64_t number = input.size() * 0x9e3779b97f4a7c15U;
  writer.text(input).u64(number).u8(static_cast<std::uint8_t>(number)).u32(static_cast<std::uint32_t>(number));
  protocol::PacketReader reader(writer.bytes());
  if (!writer.fits()) {
    PROPERTY(!reader.ok());
    return;
  }
  PROPERTY(reader.text() == input && reader.u64() == number);
  PROPERTY(reader.u8() == static_cast<std::uint8_t>(number) && reader.u32() == static_cast<std::uint32_t>(number));
  PROPERTY(reader.complete());
  const std::string_view cut = std::string_view(writer.bytes()).substr(0, writer.bytes().size() - 1);
  protocol::PacketReader short_reader(cut);
  short_reader.text();
  short_reader.u64();
  short_reader.u8();
  PROPERTY(short_reader.ok() && short_reader.u32() == 0 && !short_reader.ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  const std::size_t half = input.empty() ? 0 : static_cast<unsigned char>(input.front()) % 16U;
  read_and_write(input.substr(0, half), input.substr(std::min(half, input.size())));
  write_and_read(input);
  return 0;
}
