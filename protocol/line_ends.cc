// The hot path of every message: ordinary lines are found with memchr and copied in runs as long as the input allows.
// Only an octet that needs a decision (a dot at the start of a line, a lone CR or LF, the edge of the input) is looked
// at by itself, by the small automaton in take_odd_octet().
#include "protocol/line_ends.h"

#include <algorithm>
#include <cstring>

namespace protocol {
namespace {

std::size_t octets(const char* begin, const char* end) { return static_cast<std::size_t>(end - begin); }

const char* find(const char* begin, const char* end, char c) {
  return begin == end ? nullptr : static_cast<const char*>(std::memchr(begin, c, octets(begin, end)));
}

std::uint64_t count_nul(const char* begin, const char* end) {
  const char* first = find(begin, end, '\0');
  return first == nullptr ? 0 : static_cast<std::uint64_t>(std::count(first, end, '\0'));
}

}  // namespace

void LineEnds::Input::find_lf() {
  lf_ = find(at, end, '\n');
  if (lf_ == nullptr) lf_ = end;
}

void LineEnds::end_line(std::string& out) {
  out.append("\r\n");
  counts_.longest_line = std::max(counts_.longest_line, line_length_);
  line_length_ = 0;
}

void LineEnds::bare_cr_becomes_space(std::string& out) {
  ++counts_.bare_cr;
  out.push_back(' ');
  ++line_length_;
  at_ = At::text;
}

// Ordinary text from input.at on, over as many lines as are canonical and do not begin with a dot that stops. Ends in
// front of the octet that needs a decision.
void LineEnds::take_lines(Input& input, std::string& out, LeadingDot dot) {
  const char* const begin = input.at;
  if (line_length_ == 0 && *begin == '.') ++counts_.dot_lines;  // not one that stops: that one never comes here
  at_ = At::line_start;
  do {
    const char* const lf = input.next_lf();
    const char* const cr = find(input.at, lf, '\r');
    const char* const stop = cr != nullptr ? cr : lf;
    line_length_ += octets(input.at, stop);
    if (cr == nullptr || lf == input.end || cr + 1 != lf) {
      input.at = stop;
      at_ = At::text;
      break;
    }
    input.at = lf + 1;
    counts_.longest_line = std::max(counts_.longest_line, line_length_);
    line_length_ = 0;
    if (input.at == input.end) break;
    if (*input.at == '.') {
      if (dot == LeadingDot::stops) break;
      ++counts_.dot_lines;
    }
  } while (true);
  out.append(begin, octets(begin, input.at));
}

// Takes one octet, CR or LF or what stands behind a CR, or only changes the state so that it is looked at anew.
void LineEnds::take_odd_octet(Input& input, std::string& out) {
  const char c = *input.at;
  if (at_ == At::cr) {
    if (c != '\n') return bare_cr_becomes_space(out);
    end_line(out);
    at_ = At::line_start;
  } else if (c == '\r') {
    at_ = At::cr;
  } else {  // LF: it ends a line, but it begins none where a dot would be more than content
    ++counts_.bare_lf;
    end_line(out);
  }
  ++input.at;
}

void LineEnds::take(Input& input, std::string& out, LeadingDot dot) {
  while (input.at < input.end) {
    const char c = *input.at;
    if (at_ == At::line_start) {
      if (c == '.' && dot == LeadingDot::stops) return;
      at_ = At::text;  // CR and LF are at the start of a line as they are in the middle of one
    }
    if (at_ == At::text && c != '\r' && c != '\n') take_lines(input, out, dot);
    else take_odd_octet(input, out);
  }
}

void LineEnds::account(const Input& input, std::size_t added) {
  counts_.nul += count_nul(input.begin, input.at);
  counts_.octets += added;
  counts_.longest_line = std::max(counts_.longest_line, line_length_);
}

void LineEnds::finish(std::string& out) {
  if (at_ == At::cr || line_length_ > 0) {
    end_line(out);
    counts_.octets += 2;
  }
  at_ = At::line_start;
}

}  // namespace protocol
