// Random content in every shape that mail has and should not have, and an independent model of what must come of it:
// written octet by octet and line by line, without a look at the codecs.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

namespace playbook {

// Octets as a client means them: lines of any length, dots where they hurt, 8-bit octets and NUL; with `odd_line_ends`
// CR and LF alone too; with `our_field` incoming copies of X-Gatepost-Verdict. A header section or none.
struct MessageKind {
  bool odd_line_ends = false;
  bool nul = false;
  bool our_field = false;
};
std::string random_message(std::mt19937& random, MessageKind kind);

// What a client sends for it behind the 354: a dot more where a line (behind CRLF) begins with one, CRLF at the end,
// the final dot.
std::string as_sent(std::string_view message);

struct Expected {
  std::string content;      // canonical
  std::size_t bare_lf = 0;  // each became CRLF
  std::size_t bare_cr = 0;  // each became a space
  std::size_t nul = 0;
};
// With `removes` our field is taken out of the header section.
Expected expected_content(std::string_view message, bool removes);

}  // namespace playbook
