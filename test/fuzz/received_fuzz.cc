// Received fields: whatever a client says, ours is lines of printable text; what is read of a foreign one is sane.
#include <string>

#include "protocol/characters.h"
#include "protocol/received.h"
#include "split.h"

namespace {

void check_read(std::string_view input) {
  const auto body = protocol::first_received(input);
  if (body) {
    PROPERTY(body->size() <= 4096);
    PROPERTY(protocol::is_printable(*body));
    PROPERTY(protocol::first_received(std::string(input) + "Received: other\r\n\r\n") == body);
  }
  for (const std::string_view text : {input, body ? std::string_view(*body) : std::string_view()}) {
    const auto from = protocol::parse_received_from(text);
    if (!from) continue;
    PROPERTY(protocol::parse_ip(to_text(from->ip)) == from->ip);
    PROPERTY(from->helo.find(' ') == std::string::npos && from->name.find(' ') == std::string::npos);
  }
}

void check_written(std::string_view input) {
  protocol::Received received;
  received.helo = received.client_name = received.forward_path = input;
  received.client_ip = protocol::parse_ip("192.0.2.1");
  received.hostname = "gw.example";
  received.id = "1";
  received.date = "Mon, 23 Nov 2026 21:00:00 +0000";
  for (const bool smtputf8 : {false, true}) {
    received.type.smtputf8 = smtputf8;
    const std::string field = format(received);
    std::string_view rest = field;
    while (!rest.empty()) {
      const std::size_t end = rest.find("\r\n");
      PROPERTY(end != std::string_view::npos && end < 998);
      const std::string_view line = rest.substr(0, end);
      PROPERTY(protocol::is_printable(line.starts_with('\t') ? line.substr(1) : line));
      PROPERTY(smtputf8 || protocol::is_ascii(line));
      rest.remove_prefix(end + 2);
      PROPERTY(rest.empty() || rest.front() == '\t');
    }
    const auto body = protocol::first_received(field + "\r\n");
    PROPERTY(body.has_value());
    // A name that is none of a host is not understood; the address is never another.
    if (const auto from = protocol::parse_received_from(*body)) PROPERTY(from->ip == *received.client_ip);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  check_read(input);
  check_written(input);
  return 0;
}
