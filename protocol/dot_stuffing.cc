// The hot path of every message: ordinary lines are found with memchr and copied in runs as long as the input allows.
// Only an octet that needs a decision (a dot at the start of a line, a lone CR or LF, the edge of the input) is looked
// at by itself, by the small automaton in take_odd_octet().
#include "protocol/dot_stuffing.h"

#include <algorithm>
#include <cstring>

namespace protocol {
namespace {

const char* find(const char* begin, const char* end, char c) {
  if (begin == end) return nullptr;
  return static_cast<const char*>(std::memchr(begin, c, static_cast<std::size_t>(end - begin)));
}

std::size_t octets(const char* begin, const char* end) { return static_cast<std::size_t>(end - begin); }

std::uint64_t count_nul(const char* begin, const char* end) {
  const char* first = find(begin, end, '\0');
  return first == nullptr ? 0 : static_cast<std::uint64_t>(std::count(first, end, '\0'));
}

}  // namespace

struct DotDecoder::Input {
  const char* at;
  const char* end;
  const char* lf;  // the next LF at or behind `at`, or `end`; looked for again once `at` has passed it

  // Kept between calls: input full of lone CRs must not be searched to its end for each of them.
  const char* next_lf() {
    if (lf == nullptr || (lf < at && lf != end)) lf = find(at, end, '\n');
    if (lf == nullptr) lf = end;
    return lf;
  }
};

void DotDecoder::end_line(std::string& out) {
  out.append("\r\n");
  counts_.longest_line = std::max(counts_.longest_line, line_length_);
  line_length_ = 0;
}

void DotDecoder::bare_cr_becomes_space(std::string& out) {
  ++counts_.bare_cr;
  out.push_back(' ');
  ++line_length_;
  at_ = At::text;
}

// Ordinary text from input.at on, over as many lines as are canonical and do not begin with a dot. Stops in front of
// the octet that needs a decision.
void DotDecoder::take_lines(Input& input, std::string& out) {
  const char* const begin = input.at;
  if (line_length_ == 0 && *begin == '.') ++counts_.dot_lines;  // behind a dot that was taken off, or behind a bare LF
  at_ = At::text;
  while (input.at < input.end) {
    const char* const lf = input.next_lf();
    const char* const cr = find(input.at, lf, '\r');
    const char* const stop = cr != nullptr ? cr : lf;
    line_length_ += octets(input.at, stop);
    input.at = stop;
    if (cr == nullptr || lf == input.end || cr + 1 != lf) break;
    counts_.longest_line = std::max(counts_.longest_line, line_length_);
    line_length_ = 0;
    input.at = lf + 1;
    at_ = At::line_start;
    if (input.at < input.end && *input.at == '.') break;
    if (input.at < input.end) at_ = At::text;
  }
  out.append(begin, octets(begin, input.at));
}

// Takes one octet, or only changes the state so that the octet is looked at again in another light.
void DotDecoder::take_odd_octet(Input& input, std::string& out) {
  const char c = *input.at;
  switch (at_) {
    case At::line_start:  // c is a dot
      at_ = At::dot;
      break;
    case At::dot:
      at_ = c == '\r' ? At::dot_cr : At::text;
      if (c != '\r') return;
      break;
    case At::dot_cr:
      finished_ = c == '\n';
      if (!finished_) return bare_cr_becomes_space(out);
      break;
    case At::cr:
      if (c != '\n') return bare_cr_becomes_space(out);
      end_line(out);
      at_ = At::line_start;
      break;
    case At::text:
      if (c == '\r') {
        at_ = At::cr;
      } else {  // LF: it ends a line, but it begins none where a dot would be more than content
        ++counts_.bare_lf;
        end_line(out);
      }
      break;
  }
  ++input.at;
}

bool DotDecoder::feed(std::string_view& input, std::string& out) {
  if (finished_ || input.empty()) return finished_;
  const std::size_t before = out.size();
  Input rest{input.data(), input.data() + input.size(), nullptr};
  while (rest.at < rest.end && !finished_) {
    const char c = *rest.at;
    const bool ordinary = c != '\r' && c != '\n';
    // At the start of a line CR and LF are as they are in the middle of one: only the dot is special there.
    if (at_ == At::line_start && c != '.') at_ = At::text;
    if (at_ == At::text && ordinary) take_lines(rest, out);
    else take_odd_octet(rest, out);
  }
  counts_.nul += count_nul(input.data(), rest.at);
  counts_.octets += out.size() - before;
  counts_.longest_line = std::max(counts_.longest_line, line_length_);
  input.remove_prefix(octets(input.data(), rest.at));
  return finished_;
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
