// XCLIENT and XFORWARD: what was read is told again in commands of one line each, and means the same.
#include <string>

#include "protocol/characters.h"
#include "protocol/xclient.h"
#include "protocol/xtext.h"
#include "split.h"

namespace {

using protocol::ClientIdentity;
using protocol::IdentityVerb;

void check(IdentityVerb verb, std::string_view argument) {
  const std::vector<std::string> all = protocol::attribute_names(verb);
  const auto identity = protocol::parse_identity(verb, argument, all);
  if (!identity) {
    PROPERTY(identity.error().code() == 501);
    return;
  }
  ClientIdentity whole;
  const std::vector<std::string> commands = format(verb, *identity, all);
  bool identity_told = false;
  for (const std::string& command : commands) {
    PROPERTY(!identity_told);  // nothing behind the one with NAME and ADDR
    PROPERTY(command.size() <= 510);
    for (const char c : command) PROPERTY(protocol::is_graphic(c) || c == ' ');
    identity_told = command.find(" NAME=") != std::string::npos || command.find(" ADDR=") != std::string::npos;
    const auto part = protocol::parse_identity(verb, std::string_view(command).substr(command.find(' ')), all);
    PROPERTY(part.has_value());
    merge(whole, *part);
  }
  // HELO and the like may be too long for a line: then they are unavailable, and nothing else may have changed.
  for (auto member : {&ClientIdentity::name, &ClientIdentity::helo, &ClientIdentity::login, &ClientIdentity::ident})
    if (whole.*member != (*identity).*member) {
      PROPERTY((whole.*member).state == protocol::Attribute::State::unavailable);
      PROPERTY(protocol::encode_xtext(((*identity).*member).text).size() > 380);
      whole.*member = (*identity).*member;
    }
  PROPERTY(whole == *identity);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  check(IdentityVerb::xclient, input);
  check(IdentityVerb::xforward, input);
  if (const auto text = protocol::decode_xtext(input)) {
    PROPERTY(protocol::is_printable(*text));
    PROPERTY(protocol::decode_xtext(protocol::encode_xtext(*text)) == *text);
  }
  const std::string encoded = protocol::encode_xtext(input);
  PROPERTY(encoded.find_first_of(" \r\n=") == std::string::npos);
  PROPERTY(protocol::decode_xtext(encoded).has_value() == protocol::is_printable(input));
  return 0;
}
