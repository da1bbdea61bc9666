#include "config/text_shape.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstdint>

#include "config/nearest.h"
#include "protocol/address.h"

namespace config {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '.' || c == '-' || c == '_'; }

std::string wrong_text(std::string_view text) { return text.empty() ? "must not be empty" : ""; }

// RFC 5321 4.1.2 Domain and 4.5.3.1.2; the underscore because hosts have it.
std::string wrong_host(std::string_view text) {
  if (text.empty() || text.size() > 255) return "must have 1 to 255 characters";
  const bool ends = is_letter(text.front()) || is_digit(text.front());
  if (!ends || !std::ranges::all_of(text, is_word) || text.find("..") != std::string_view::npos || text.back() == '.' ||
      text.back() == '-')
    return "is no host name; use letters, digits, hyphens and dots";
  return {};
}

std::string wrong_entry(std::string_view text) {
  if (text.empty() || text.size() > 64) return "must have 1 to 64 characters";
  if (!std::ranges::all_of(text, is_word) || (!is_letter(text.front()) && !is_digit(text.front())))
    return "is no name; use letters, digits, '.', '-' and '_', a letter or digit first";
  return {};
}

// As strict as the texts that it is written into want it: rules of a packet filter.
std::string wrong_interface(std::string_view text) {
  const auto fits = [](char c) { return is_word(c) || c == '@'; };
  if (text.empty() || text.size() > 15) return "must have 1 to 15 characters";  // IFNAMSIZ
  if (!std::ranges::all_of(text, fits) || (!is_letter(text.front()) && !is_digit(text.front())))
    return "is no name of a network interface";
  return {};
}

std::string wrong_path(std::string_view text) {
  if (!text.starts_with('/')) return "must be an absolute path";
  if (text.size() >= PATH_MAX) return "is too long for a path";
  return {};
}

std::string wrong_path_or_nothing(std::string_view text) { return text.empty() ? "" : wrong_path(text); }

std::string wrong_mailbox_path(std::string_view text) {
  if (std::string problem = wrong_path(text); !problem.empty()) return problem;
  for (std::size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 1)) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("%local") || rest.starts_with("%domain")) continue;
    return "may hold %local and %domain, but no other %";
  }
  if ((std::string(text) + '/').find("/../") != std::string::npos) return "must not hold \"..\"";
  return {};
}

std::string wrong_log_target(std::string_view text) {
  if (text == "stderr" || text == "syslog") return {};
  if (text.starts_with('/')) return wrong_path(text);
  constexpr std::array<std::string_view, 2> known{"stderr", "syslog"};
  return "must be \"stderr\", \"syslog\" or an absolute path" + did_you_mean(text, known);
}

std::string wrong_mailbox(std::string_view text) {
  return protocol::parse_mailbox(text, false) && text.empty() ? "" : "is no mailbox; write LOCAL@DOMAIN";
}

// 2^32-1 is "no uid" to the kernel.
std::string wrong_account(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (!std::ranges::all_of(text, is_digit))
    return text.size() <= 32 && std::ranges::all_of(text, is_word) && text.front() != '-' ? "" : "is no account name";
  std::uint32_t uid = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), uid);
  if (failure != std::errc{} || uid == UINT32_MAX) return "is no uid; it is a number from 1 to 4294967294";
  return uid == 0 ? "is root, which gatepost's processes must not be" : "";
}

std::string wrong_fingerprint(std::string_view text) {
  std::size_t digits = 0;
  bool paired = true;
  char last = ':';
  for (const char c : text) {
    const bool hexadecimal = is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    paired = paired && (hexadecimal || (c == ':' && last != ':' && digits % 2 == 0 && digits < 64));
    digits += hexadecimal ? 1 : 0;
    last = c;
  }
  if (paired && digits == 64) return {};
  return "is no SHA-256 fingerprint: 64 hexadecimal digits, as openssl x509 -fingerprint -sha256 shows them";
}

}  // namespace

const TextShape any_text{"text", "^.", wrong_text};
const TextShape host_name{"a host name", "^[A-Za-z0-9][A-Za-z0-9._-]*$", wrong_host};
const TextShape entry_name{"a name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", wrong_entry};
const TextShape absolute_path{"an absolute path", "^/", wrong_path};
const TextShape path_or_nothing{"an absolute path or nothing", "^(/|$)", wrong_path_or_nothing};
const TextShape mailbox_path{"an absolute path with %local and %domain", "^/([^%]|%local|%domain)*$",
                             wrong_mailbox_path};
const TextShape log_target{"stderr, syslog or an absolute path", "^(stderr$|syslog$|/)", wrong_log_target};
const TextShape mailbox{"LOCAL@DOMAIN", "^.+@.+$", wrong_mailbox};
const TextShape interface_name{"a network interface", "^[A-Za-z0-9][A-Za-z0-9._@-]{0,14}$", wrong_interface};
const TextShape account_name{"an account name or number", "^[A-Za-z0-9._][A-Za-z0-9._-]*$", wrong_account, true};
const TextShape fingerprint{"a SHA-256 fingerprint", "^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$", wrong_fingerprint};

}  // namespace config
