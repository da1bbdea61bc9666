#include "protocol/capabilities.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "protocol/characters.h"
#include "protocol/xclient.h"

namespace protocol {
namespace {

constexpr std::size_t max_lines = 100;
constexpr std::size_t max_words = 100;  // of each list
constexpr std::uint64_t greatest_limit = 999999;  // RFC 9422 section 6: six digits

struct Flag {
  std::string_view keyword;
  bool Capabilities::*member;
  bool Carry::*carry;  // nullptr: carried without a switch
};
// Keywords without parameters, in the order of our reply to EHLO.
constexpr Flag flags[] = {
    {"PIPELINING", &Capabilities::pipelining, nullptr},
    {"8BITMIME", &Capabilities::eight_bit_mime, nullptr},
    {"SMTPUTF8", &Capabilities::smtputf8, nullptr},
    {"DSN", &Capabilities::dsn, nullptr},
    {"ENHANCEDSTATUSCODES", &Capabilities::enhanced_status_codes, nullptr},
    {"CHUNKING", &Capabilities::chunking, &Carry::chunking},
    {"BINARYMIME", &Capabilities::binary_mime, &Carry::binary_mime},
    {"PRDR", &Capabilities::prdr, &Carry::prdr},
    {"VRFY", &Capabilities::vrfy, &Carry::vrfy},
    {"EXPN", &Capabilities::expn, &Carry::expn},
    {"HELP", &Capabilities::help, &Carry::help},
    {"ETRN", &Capabilities::etrn, &Carry::etrn},
    {"STARTTLS", &Capabilities::starttls, &Carry::starttls},
};

struct Limit {
  std::string_view name;
  std::uint32_t Capabilities::*member;
};
constexpr Limit limits[] = {{"RCPTMAX", &Capabilities::rcpt_max},
                            {"MAILMAX", &Capabilities::mail_max},
                            {"RCPTDOMAINMAX", &Capabilities::rcpt_domain_max}};

struct WordList {
  std::string_view keyword;
  std::vector<std::string> Capabilities::*member;
};
constexpr WordList word_lists[] = {
    {"AUTH", &Capabilities::auth}, {"XCLIENT", &Capabilities::xclient}, {"XFORWARD", &Capabilities::xforward}};

// Mechanisms without a security layer.
constexpr std::string_view harmless[] = {
    "PLAIN",         "LOGIN",          "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-224", "SCRAM-SHA-256", "SCRAM-SHA-384",
    "SCRAM-SHA-512", "SCRAM-SHA3-512", "XOAUTH2",  "OAUTHBEARER", "OTP",           "ANONYMOUS"};

template <class Number>
Number smaller_limit(Number a, Number b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

bool holds(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    text = trim(text);
    if (text.empty()) return words;
    const std::string_view word = text.substr(0, text.find(' '));
    words.push_back(upper(word));
    text.remove_prefix(word.size());
  }
}

bool is_mechanism(std::string_view word) {  // sasl-mech (RFC 4422 3.1), any length
  return std::all_of(word.begin(), word.end(), [](char c) { return is_let_dig(c) || c == '-' || c == '_'; });
}

void keep(std::vector<std::string>& words, std::string word) {
  if (words.size() < max_words) words.push_back(std::move(word));
}

// `SIZE [1*20DIGIT]` (RFC 1870 section 3); a number beyond 64 bits limits nothing.
void take_size(Capabilities& out, std::string_view parameter) {
  if (parameter.size() > 20 || !std::all_of(parameter.begin(), parameter.end(), is_digit)) return;
  out.size = true;
  out.size_limit = decimal(parameter).value_or(0);
}

// `LIMITS *(SP name "=" value)` (RFC 9422 section 3). Of a limit given twice the smaller holds.
void take_limits(Capabilities& out, std::string_view parameters) {
  for (const std::string& word : words_of(parameters)) {
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::optional<std::uint64_t> value =
        decimal(std::string_view(word).substr(std::min(equals + 1, word.size())));
    const auto limit = std::find_if(std::begin(limits), std::end(limits),
                                    [&](const Limit& known) { return known.name == word.substr(0, equals); });
    if (limit == std::end(limits) || !value || *value == 0 || *value > greatest_limit) {
      keep(out.withheld, "LIMITS " + word);
      continue;
    }
    out.limits = true;
    out.*limit->member = smaller_limit(out.*limit->member, static_cast<std::uint32_t>(*value));
  }
}

bool take_word_list(Capabilities& out, std::string_view keyword, std::string_view parameters) {
  for (const WordList& list : word_lists) {
    if (!equals_nocase(keyword, list.keyword)) continue;
    std::vector<std::string> words = words_of(parameters);
    std::erase_if(words, [](const std::string& word) { return !is_mechanism(word); });
    if (words.empty()) return false;
    for (std::string& word : words)
      if (!holds(out.*list.member, word)) keep(out.*list.member, std::move(word));
    return true;
  }
  return false;
}

// ehlo-line = ehlo-keyword *( SP ehlo-param )
void take_line(Capabilities& out, std::string_view line) {
  line = trim(line);
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view keyword = line.substr(0, end);
  const std::string_view parameters = trim(line.substr(end));
  if (!is_keyword(keyword)) return;
  if (equals_nocase(keyword, "SIZE")) return take_size(out, parameters);
  if (equals_nocase(keyword, "LIMITS")) return take_limits(out, parameters);
  if (take_word_list(out, keyword, parameters)) return;
  for (const Flag& flag : flags) {
    if (!equals_nocase(keyword, flag.keyword)) continue;
    out.*flag.member = true;
    return;
  }
  std::string unknown = upper(keyword);
  if (!parameters.empty()) unknown.append(" ").append(parameters);
  keep(out.withheld, std::move(unknown));
}

std::string joined(std::string_view keyword, const std::vector<std::string>& words) {
  std::string line(keyword);
  for (const std::string& word : words) line.append(" ").append(word);
  return line;
}

void append_limits(std::vector<std::string>& lines, const Capabilities& offered) {
  std::string line = "LIMITS";
  for (const Limit& limit : limits)
    if (offered.*limit.member > 0)
      line.append(" ").append(limit.name).append("=").append(std::to_string(offered.*limit.member));
  lines.push_back(std::move(line));
}

}  // namespace

bool may_carry_mechanism(std::string_view mechanism, const std::vector<std::string>& allowed) {
  const std::string name = upper(mechanism);
  if (name == "EXTERNAL" || name.ends_with("-PLUS")) return false;
  return std::find(std::begin(harmless), std::end(harmless), name) != std::end(harmless) || holds(allowed, name);
}

Capabilities carried() { return carried(Carry()); }

Capabilities carried(const Carry& carry) {
  Capabilities out;
  for (const Flag& flag : flags) out.*flag.member = flag.carry == nullptr || carry.*flag.carry;
  out.binary_mime = out.binary_mime && out.chunking;
  out.size = true;
  out.limits = carry.limits;
  if (carry.auth) {
    out.auth.assign(std::begin(harmless), std::end(harmless));
    for (const std::string& mechanism : carry.auth_allowed)
      if (may_carry_mechanism(mechanism, carry.auth_allowed) && !holds(out.auth, mechanism))
        out.auth.push_back(mechanism);
  }
  if (carry.xclient) out.xclient = attribute_names(IdentityVerb::xclient);
  if (carry.xforward) out.xforward = attribute_names(IdentityVerb::xforward);
  return out;
}

Capabilities parse_capabilities(const Reply& ehlo_reply) {
  Capabilities out;
  if (!ehlo_reply.positive()) return out;
  const std::size_t count = std::min(ehlo_reply.lines().size(), max_lines);
  for (std::size_t i = 1; i < count; ++i) take_line(out, ehlo_reply.lines()[i]);
  return out;
}

Capabilities intersection(const Capabilities& ours, const Capabilities& downstream) {
  Capabilities out;
  for (const Flag& flag : flags) out.*flag.member = ours.*flag.member && downstream.*flag.member;
  out.binary_mime = out.binary_mime && out.chunking;
  out.starttls = ours.starttls;
  out.xclient = ours.xclient;
  out.xforward = ours.xforward;
  out.size = ours.size || downstream.size;
  out.size_limit = smaller_limit(ours.size ? ours.size_limit : 0, downstream.size ? downstream.size_limit : 0);
  for (const Limit& limit : limits) {
    if (!ours.limits) break;
    out.*limit.member = smaller_limit(ours.*limit.member, downstream.limits ? downstream.*limit.member : 0);
    out.limits = out.limits || out.*limit.member > 0;
  }
  if (!ours.auth.empty())
    std::copy_if(downstream.auth.begin(), downstream.auth.end(), std::back_inserter(out.auth),
                 [&](const std::string& mechanism) { return holds(ours.auth, mechanism); });
  return out;
}

std::vector<std::string> withheld(const Capabilities& downstream, const Capabilities& offered) {
  std::vector<std::string> out = downstream.withheld;
  for (const Flag& flag : flags)
    if (downstream.*flag.member && !(offered.*flag.member) && flag.member != &Capabilities::starttls)
      out.emplace_back(flag.keyword);
  for (const std::string& mechanism : downstream.auth)
    if (!holds(offered.auth, mechanism)) out.push_back("AUTH " + mechanism);
  if (downstream.limits && !offered.limits) out.emplace_back("LIMITS");
  return out;
}

Reply ehlo_reply(std::string_view server_name, const Capabilities& offered) {
  std::vector<std::string> lines;
  lines.reserve(std::size(flags) + 6);
  lines.emplace_back(server_name);
  if (offered.size) lines.push_back(offered.size_limit > 0 ? "SIZE " + std::to_string(offered.size_limit) : "SIZE");
  for (const Flag& flag : flags)
    if (offered.*flag.member) lines.emplace_back(flag.keyword);
  if (offered.limits) append_limits(lines, offered);
  for (const WordList& list : word_lists)
    if (!(offered.*list.member).empty()) lines.push_back(joined(list.keyword, offered.*list.member));
  return Reply(250, std::nullopt, std::move(lines));
}

}  // namespace protocol
