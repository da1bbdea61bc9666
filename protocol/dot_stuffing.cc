#include "protocol/dot_stuffing.h"

namespace protocol {

// The octet behind a dot that began a line: `.CRLF` is the end of data; before anything else the dot is taken off.
void DotDecoder::take_behind_dot(LineEnds::Input& input, std::string& out) {
  const char c = *input.at;
  if (at_ == At::dot && c == '\r') {
    at_ = At::dot_cr;
    ++input.at;
  } else if (at_ == At::dot) {
    lines_.enter_line();
    at_ = At::lines;
  } else if (c == '\n') {
    at_ = At::end;
    ++input.at;
  } else {
    lines_.bare_cr_becomes_space(out);
    at_ = At::lines;
  }
}

bool DotDecoder::feed(std::string_view& input, std::string& out) {
  if (finished() || input.empty()) return finished();
  const std::size_t before = out.size();
  LineEnds::Input rest(input);
  while (rest.at < rest.end && !finished()) {
    if (at_ != At::lines) {
      take_behind_dot(rest, out);
      continue;
    }
    lines_.take(rest, out, LineEnds::LeadingDot::stops);
    if (rest.at == rest.end) break;
    at_ = At::dot;
    ++rest.at;
  }
  lines_.account(rest, out.size() - before);
  input.remove_prefix(static_cast<std::size_t>(rest.at - rest.begin));
  return finished();
}

void DotEncoder::feed(std::string_view content, std::string& out) {
  if (content.empty()) return;
  const auto starts_line = [&](std::size_t i) {
    if (i == 0) return line_start_;
    return content[i - 1] == '\n' && (i == 1 ? saw_cr_ : content[i - 2] == '\r');
  };
  std::size_t copied = 0;
  // Behind any dot the next one at the start of a line is three octets away at least.
  for (std::size_t dot = content.find('.'); dot != std::string_view::npos; dot = content.find('.', dot + 3)) {
    if (!starts_line(dot)) continue;
    out.append(content.substr(copied, dot - copied)).push_back('.');
    copied = dot;
  }
  out.append(content.substr(copied));
  line_start_ = starts_line(content.size());
  saw_cr_ = content.back() == '\r';
}

void DotEncoder::finish(std::string& out) {
  if (!line_start_) out.append(saw_cr_ ? "\n" : "\r\n");
  out.append(".\r\n");
  *this = DotEncoder();
}

}  // namespace protocol
