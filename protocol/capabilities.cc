#include "protocol/capabilities.h"

#include <algorithm>
#include <charconv>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::size_t max_lines = 100;

struct Flag {
  std::string_view keyword;
  bool Capabilities::*member;
};
// Keywords without parameters that we carry end to end.
constexpr Flag flags[] = {
    {"PIPELINING", &Capabilities::pipelining},
    {"8BITMIME", &Capabilities::eight_bit_mime},
    {"SMTPUTF8", &Capabilities::smtputf8},
    {"DSN", &Capabilities::dsn},
    {"ENHANCEDSTATUSCODES", &Capabilities::enhanced_status_codes},
};

// ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
bool is_keyword(std::string_view text) {
  return !text.empty() && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_let_dig(c) || c == '-'; });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_wsp(text.back())) text.remove_suffix(1);
  while (!text.empty() && is_wsp(text.front())) text.remove_prefix(1);
  return text;
}

// `SIZE [1*20DIGIT]` (RFC 1870 section 3); a number beyond 64 bits limits nothing. False: malformed.
bool take_size(Capabilities& out, std::string_view parameter) {
  if (parameter.size() > 20 || !std::all_of(parameter.begin(), parameter.end(), is_digit)) return false;
  std::uint64_t limit = 0;
  const auto result = std::from_chars(parameter.data(), parameter.data() + parameter.size(), limit);
  out.size = true;
  out.size_limit = result.ec == std::errc() ? limit : 0;
  return true;
}

// ehlo-line = ehlo-keyword *( SP ehlo-param )
void take_line(Capabilities& out, std::string_view line) {
  line = trim(line);
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view keyword = line.substr(0, end);
  const std::string_view parameters = trim(line.substr(end));
  if (!is_keyword(keyword)) return;
  if (equals_nocase(keyword, "SIZE")) {
    take_size(out, parameters);
    return;
  }
  for (const Flag& flag : flags) {
    if (!equals_nocase(keyword, flag.keyword)) continue;
    out.*flag.member = true;
    return;
  }
  std::string withheld = upper(keyword);
  if (!parameters.empty()) withheld.append(" ").append(parameters);
  out.withheld.push_back(std::move(withheld));
}

}  // namespace

Capabilities carried() {
  Capabilities out;
  for (const Flag& flag : flags) out.*flag.member = true;
  out.size = true;
  return out;
}

Capabilities parse_capabilities(const Reply& ehlo_reply) {
  Capabilities out;
  if (!ehlo_reply.positive()) return out;
  const std::size_t count = std::min(ehlo_reply.lines().size(), max_lines);
  for (std::size_t i = 1; i < count; ++i) take_line(out, ehlo_reply.lines()[i]);
  return out;
}

Capabilities intersection(const Capabilities& a, const Capabilities& b) {
  Capabilities out;
  for (const Flag& flag : flags) out.*flag.member = a.*flag.member && b.*flag.member;
  out.size = a.size || b.size;
  for (const Capabilities* side : {&a, &b})
    if (side->size && side->size_limit > 0)
      out.size_limit = out.size_limit == 0 ? side->size_limit : std::min(out.size_limit, side->size_limit);
  return out;
}

Reply ehlo_reply(std::string_view server_name, const Capabilities& offered) {
  std::vector<std::string> lines{std::string(server_name)};
  if (offered.size) lines.push_back(offered.size_limit > 0 ? "SIZE " + std::to_string(offered.size_limit) : "SIZE");
  for (const Flag& flag : flags)
    if (offered.*flag.member) lines.emplace_back(flag.keyword);
  return Reply(250, std::nullopt, std::move(lines));
}

}  // namespace protocol
