#include "protocol/address.h"

#include <algorithm>
#include <utility>

#include "protocol/address_literal.h"
#include "protocol/characters.h"

namespace protocol {
namespace {

// RFC 5321 4.5.3.1.2 and 4.5.3.1.3, octets. No limit of its own for the local part (4.5.3.1.1 says 64): bounce
// addresses that encode a recipient (SRS, VERP) are longer, and the servers behind us take them.
constexpr std::size_t max_domain = 255;
constexpr std::size_t max_path = 256;

using Text = std::expected<std::string_view, AddressError>;  // of the input
using Problem = std::optional<AddressError>;

std::unexpected<AddressError> error(std::string_view reason) { return std::unexpected(AddressError{reason}); }

bool take(std::string_view& input, char c) {
  if (!input.starts_with(c)) return false;
  input.remove_prefix(1);
  return true;
}

std::string_view take(std::string_view& input, std::size_t octets) {
  const std::string_view text = input.substr(0, octets);
  input.remove_prefix(octets);
  return text;
}

// Octets in front of `input` that are of the class, or UTF-8 where that is allowed.
std::size_t span(std::string_view input, bool utf8, const OctetClass& allowed) {
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  const char* at = begin;
  while (true) {
    at = std::find_if_not(at, end, [&](char c) { return is_in(allowed, c); });
    const std::size_t character = utf8 && at != end ? utf8_non_ascii({at, end}) : 0;
    if (character == 0) return static_cast<std::size_t>(at - begin);
    at += character;
  }
}

// Dot-string = Atom *("." Atom); 0 where there is none in front of `input`
std::size_t dot_string_octets(std::string_view input, bool utf8) {
  std::size_t length = 0;
  while (true) {
    const std::size_t atom = span(input.substr(length), utf8, atext);
    if (atom == 0) return 0;
    length += atom;
    if (!input.substr(length).starts_with('.')) return length;
    ++length;
  }
}

// Dot-string with empty atoms too: addresses like a..b@ and a.@ were sold by mobile carriers, and servers take them.
Text loose_dot_string(std::string_view& input, bool utf8) {
  static constexpr OctetClass allowed = octet_class([](char c) { return is_atext(c) || c == '.'; });
  const std::size_t length = span(input, utf8, allowed);
  if (length == 0) return error("local part is neither a dot-string nor quoted");
  return take(input, length);
}

// Quoted-string = DQUOTE *QcontentSMTP DQUOTE; the text without its quoting.
Problem quoted_string(std::string_view& input, bool utf8, std::string& text) {
  input.remove_prefix(1);
  while (!take(input, '"')) {
    const bool pair = take(input, '\\');
    const std::size_t character = utf8 && !pair ? utf8_non_ascii(input) : 0;
    const std::size_t length = character > 0 ? character : 1;
    if (input.empty() || (character == 0 && !is_graphic(input.front()) && input.front() != ' '))
      return AddressError{"bad quoted local part"};
    text.append(take(input, length));
  }
  return std::nullopt;
}

// Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str] (RFC 5321 4.1.2), U-label too (RFC 6531 3.3);
// an underscore too: such hosts exist.
Text domain(std::string_view& input, bool utf8) {
  static constexpr OctetClass allowed = octet_class([](char c) { return is_let_dig(c) || c == '-' || c == '_'; });
  std::size_t length = 0;
  while (true) {
    const std::string_view rest = input.substr(length);
    const std::size_t label = span(rest, utf8, allowed);
    if (label == 0 || rest.front() == '-' || rest[label - 1] == '-') return error("bad domain");
    length += label;
    if (!input.substr(length).starts_with('.')) break;
    ++length;
  }
  if (length > max_domain) return error("domain too long");
  return take(input, length);
}

// address-literal with its brackets
Text address_literal(std::string_view& input) {
  const std::size_t end = input.find(']');
  if (end == std::string_view::npos || !parse_address_literal(input.substr(1, end - 1)))
    return error("bad address literal");
  return take(input, end + 1);
}

bool is_dot_string(std::string_view text) { return dot_string_octets(text, true) == text.size() && !text.empty(); }

// As a path. Quoting at most doubles the local part.
bool is_too_long(const Mailbox& mailbox) {
  const std::size_t most = 2 * mailbox.local_part.size() + mailbox.domain.size() + 5;
  return most > max_path && format_path(mailbox).size() > max_path;
}

// Local-part = Dot-string / Quoted-string
Problem local_part(std::string_view& input, bool utf8, Mailbox& out) {
  if (input.starts_with('"')) return quoted_string(input, utf8, out.local_part);
  const Text text = loose_dot_string(input, utf8);
  if (!text) return text.error();
  out.local_part = *text;
  out.loose = !is_dot_string(*text);
  return std::nullopt;
}

// Mailbox = Local-part "@" ( Domain / address-literal )
Problem mailbox(std::string_view& input, bool utf8, Mailbox& out) {
  if (const Problem bad = local_part(input, utf8, out)) return bad;
  if (!take(input, '@'))
    return AddressError{input.empty() || input.front() == '>' ? "domain missing" : "bad local part"};
  const Text where = input.starts_with('[') ? address_literal(input) : domain(input, utf8);
  if (!where) return where.error();
  out.domain = *where;
  return std::nullopt;
}

// A-d-l ":" = At-domain *( "," At-domain ) ":"; read and dropped (RFC 5321 appendix C)
Problem source_route(std::string_view& input, bool utf8) {
  do {
    if (!take(input, '@')) return AddressError{"bad source route"};
    if (const Text hop = domain(input, utf8); !hop) return AddressError{"bad source route"};
  } while (take(input, ','));
  if (!take(input, ':')) return AddressError{"bad source route"};
  return std::nullopt;
}

// Path = "<" [ A-d-l ":" ] Mailbox ">", or a mailbox without < and >, as old clients write it and servers take it; that
// goes up to a space or the end.
Problem path(std::string_view& input, bool utf8, Mailbox& out) {
  std::string_view rest = input;
  const bool bare = !take(rest, '<');
  if (!bare && rest.starts_with('@'))
    if (const Problem bad = source_route(rest, utf8)) return bad;
  const Problem bad = mailbox(rest, utf8, out);
  if (bare && (bad || (!rest.empty() && rest.front() != ' ')))
    return AddressError{"address must stand between < and >"};
  if (bad) return bad;
  if (is_too_long(out)) return AddressError{"path too long"};
  if (!bare && !take(rest, '>')) return AddressError{"> expected after the address"};
  input = rest;
  return std::nullopt;
}

}  // namespace

void append(std::string& out, const Mailbox& mailbox) {
  out.reserve(out.size() + mailbox.local_part.size() + mailbox.domain.size() + 4);
  if (mailbox.loose || is_dot_string(mailbox.local_part)) {
    out.append(mailbox.local_part);
  } else {
    out.push_back('"');
    for (const char c : mailbox.local_part) {
      if (c == '"' || c == '\\') out.push_back('\\');
      out.push_back(c);
    }
    out.push_back('"');
  }
  if (!mailbox.domain.empty()) out.append(1, '@').append(mailbox.domain);
}

std::string format(const Mailbox& mailbox) {
  std::string out;
  append(out, mailbox);
  return out;
}

bool is_ascii(const Mailbox& mailbox) { return is_ascii(mailbox.local_part) && is_ascii(mailbox.domain); }

void append_path(std::string& out, const Mailbox& forward_path) {
  out.reserve(out.size() + forward_path.local_part.size() + forward_path.domain.size() + 6);
  out.push_back('<');
  append(out, forward_path);
  out.push_back('>');
}

std::string format_path(const Mailbox& forward_path) {
  std::string out;
  append_path(out, forward_path);
  return out;
}
std::string format_path(const ReversePath& path) { return path ? format_path(*path) : "<>"; }

std::expected<ReversePath, AddressError> parse_reverse_path(std::string_view& input, bool utf8) {
  std::expected<ReversePath, AddressError> parsed;
  if (input.starts_with("<>")) input.remove_prefix(2);
  else if (const Problem bad = path(input, utf8, parsed->emplace())) parsed = std::unexpected(*bad);
  return parsed;
}

std::expected<Mailbox, AddressError> parse_forward_path(std::string_view& input, bool utf8) {
  constexpr std::string_view postmaster = "<postmaster>";
  std::expected<Mailbox, AddressError> parsed;
  if (starts_with_nocase(input, postmaster)) {
    const std::string_view alone = take(input, postmaster.size());
    parsed->local_part = alone.substr(1, alone.size() - 2);
  } else if (const Problem bad = path(input, utf8, *parsed)) {
    parsed = std::unexpected(*bad);
  }
  return parsed;
}

std::expected<Mailbox, AddressError> parse_mailbox(std::string_view& input, bool utf8) {
  std::string_view rest = input;
  std::expected<Mailbox, AddressError> parsed;
  if (const Problem bad = mailbox(rest, utf8, *parsed)) parsed = std::unexpected(*bad);
  else if (is_too_long(*parsed)) parsed = error("path too long");
  else input = rest;
  return parsed;
}

std::expected<std::string, AddressError> parse_helo_name(std::string_view argument, bool utf8) {
  if (argument.empty()) return error("name missing");
  if (argument.size() > max_domain) return error("name too long");
  std::string_view rest = argument;
  if (take(rest, '[')) {
    // Clients also write [fe80::1%eth0] or the like: nothing here decides by the name, so its characters suffice.
    static constexpr OctetClass harmless =
        octet_class([](char c) { return is_let_dig(c) || c == ':' || c == '.' || c == '%' || c == '-' || c == '_'; });
    const std::size_t inside = span(rest, false, harmless);
    if (inside == 0 || rest.substr(inside) != "]") return error("bad address literal");
    return std::string(argument);
  }
  if (rest.size() > 1 && rest.ends_with('.')) rest.remove_suffix(1);
  if (rest.empty() || dot_string_octets(rest, utf8) != rest.size()) return error("bad name");
  return std::string(argument);
}

}  // namespace protocol
