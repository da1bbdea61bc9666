// What the text of a setting must look like; each shape serves the loader, the JSON Schema and the manual.
#pragma once

#include <string>
#include <string_view>

namespace config {

struct TextShape {
  std::string_view name;     // "an absolute path"
  std::string_view pattern;  // ECMA 262, at least as wide as `wrong`
  // Why the text does not fit, as the end of the sentence "VALUE ..."; empty = it fits. Never sees control characters.
  std::string (*wrong)(std::string_view text);
  bool number_too = false;  // a whole number is taken as its digits
};

extern const TextShape any_text;         // not empty
extern const TextShape host_name;        // our own name in banner, EHLO and Received
extern const TextShape entry_name;       // of a listener, downstream, scanner; a label in logs and metrics
extern const TextShape absolute_path;    //
extern const TextShape path_or_nothing;  // or empty
extern const TextShape mailbox_path;     // absolute; %local and %domain
extern const TextShape log_target;       // stderr, syslog, an absolute path
extern const TextShape mailbox;          // LOCAL@DOMAIN or LOCAL@[ADDRESS]
extern const TextShape interface_name;   // as the kernel has it
extern const TextShape account_name;     // or a number
extern const TextShape fingerprint;      // SHA-256: 64 hexadecimal digits, with or without colons

}  // namespace config
