// Command lines, paths and parameters: parse(format(x)) == x, and what is formatted is one line of printable text.
#include <string>

#include "protocol/auth.h"
#include "protocol/characters.h"
#include "protocol/command.h"
#include "protocol/inquiry.h"
#include "protocol/smtp_state.h"
#include "split.h"

namespace {

using protocol::Capabilities;

// What may go downstream as a line.
bool is_one_line(std::string_view line) {
  for (std::size_t i = 0; i < line.size();) {
    const std::size_t character = protocol::utf8_non_ascii(line.substr(i));
    if (character == 0 && !protocol::is_graphic(line[i]) && line[i] != ' ') return false;
    i += character > 0 ? character : 1;
  }
  return true;
}

void check_refusal(const protocol::Reply& reply) {
  PROPERTY(reply.permanent());
  PROPERTY(reply.enhanced().has_value());
}

void check_mail(std::string_view argument, const Capabilities& offered) {
  const auto mail = protocol::parse_mail(argument, offered);
  if (!mail) return check_refusal(mail.error());
  const std::string line = protocol::format(*mail, offered);
  PROPERTY(is_one_line(line));
  PROPERTY(mail->parameters.smtputf8 || protocol::is_ascii(line));
  const auto again = protocol::parse_mail(protocol::parse_command(line).argument, offered);
  PROPERTY(again && *again == *mail);
  protocol::Capabilities without_size = offered;
  without_size.size = false;
  const std::string unsized_line = protocol::format(*mail, without_size);
  protocol::MailCommand unsized = *mail;
  unsized.parameters.size.reset();
  const auto parsed = protocol::parse_mail(protocol::parse_command(unsized_line).argument, offered);
  PROPERTY(parsed && *parsed == unsized);
}

void check_rcpt(std::string_view argument, const Capabilities& offered, bool smtputf8) {
  const auto rcpt = protocol::parse_rcpt(argument, offered, smtputf8);
  if (!rcpt) return check_refusal(rcpt.error());
  const std::string line = protocol::format(*rcpt);
  PROPERTY(is_one_line(line));
  PROPERTY(smtputf8 || protocol::is_ascii(line));
  const auto again = protocol::parse_rcpt(protocol::parse_command(line).argument, offered, smtputf8);
  PROPERTY(again && *again == *rcpt);
}

// What else a line may be, formatted and parsed again.
void check_other_verbs(const protocol::Command& command, const Capabilities& offered) {
  if (const auto auth = protocol::parse_auth(command.argument, offered)) {
    const std::string line = protocol::format(*auth);
    PROPERTY(is_one_line(line) && line.size() <= protocol::max_auth_line);
    PROPERTY(protocol::parse_auth(protocol::parse_command(line).argument, offered) == *auth);
  }
  if (const auto response = protocol::parse_auth_response(command.argument))
    PROPERTY(protocol::parse_auth_response(protocol::format(*response)) == *response);
  for (const auto verb : {protocol::Verb::vrfy, protocol::Verb::expn, protocol::Verb::help, protocol::Verb::etrn}) {
    const auto inquiry = protocol::parse_inquiry(verb, command.argument, offered);
    if (!inquiry) {
      check_refusal(inquiry.error());
      continue;
    }
    const std::string line = protocol::format(*inquiry);
    PROPERTY(is_one_line(line) && line.size() <= 510);
    PROPERTY(protocol::parse_inquiry(verb, protocol::parse_command(line).argument, offered) == *inquiry);
  }
}

void check_legality(protocol::Verb verb, const Capabilities& offered) {
  using protocol::SmtpState;
  protocol::Circumstances circumstances(offered);
  for (const bool lmtp : {false, true}) {
    circumstances.lmtp = lmtp;
    for (const auto state : {SmtpState::connected, SmtpState::greeted, SmtpState::mail, SmtpState::rcpt,
                             SmtpState::chunks, SmtpState::failed}) {
      const auto refusal = protocol::check_legal(state, verb, circumstances);
      if (refusal) PROPERTY(refusal->permanent() || verb == protocol::Verb::forbidden);
      // Whatever happens, content is taken with a recipient alone, and not behind a chunk that failed (T:B7, B5).
      if (!refusal && (verb == protocol::Verb::data || verb == protocol::Verb::bdat))
        PROPERTY(state == SmtpState::rcpt || (state == SmtpState::chunks && verb == protocol::Verb::bdat));
    }
  }
}

Capabilities everything() {
  protocol::Carry carry;
  carry.chunking = carry.binary_mime = carry.prdr = carry.vrfy = carry.expn = carry.help = carry.etrn = true;
  carry.starttls = carry.auth = carry.xclient = carry.xforward = true;
  return protocol::carried(carry);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view line = fuzz::text_of(octets, size);
  const protocol::Command command = protocol::parse_command(line);
  PROPERTY(line.starts_with(command.word));
  PROPERTY(!command.argument.starts_with(' ') && !command.argument.ends_with(' '));
  PROPERTY(command.argument.empty() || line.find(command.argument) != std::string_view::npos);
  Capabilities limited = protocol::carried();
  limited.size_limit = 1000000;
  for (const Capabilities& offered : {protocol::carried(), limited, Capabilities(), everything()}) {
    check_legality(command.verb, offered);
    check_other_verbs(command, offered);
    check_mail(command.argument, offered);
    for (const bool smtputf8 : {false, true}) check_rcpt(command.argument, offered, smtputf8 && offered.smtputf8);
  }
  if (const auto name = protocol::parse_helo_name(command.argument, true)) PROPERTY(is_one_line(*name));
  std::string_view rest = line;
  if (const auto mailbox = protocol::parse_mailbox(rest, true)) {
    const std::string formatted = protocol::format(*mailbox);
    rest = formatted;
    const auto again = protocol::parse_mailbox(rest, true);
    PROPERTY(again && *again == *mailbox && rest.empty());
  }
  return 0;
}
