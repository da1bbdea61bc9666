// How large a header section is, for limits. Unlike for header_filter.h it ends with the first line that is no field as
// well: text that has no header section at all, sent as if it had, is not too many fields.
#pragma once

#include <cstdint>
#include <string_view>

namespace protocol {

class HeaderMeter {
 public:
  // Any split of the content gives the same numbers.
  void feed(std::string_view content);
  std::uint64_t fields() const { return fields_; }
  std::uint64_t octets() const { return octets_; }  // of these fields as they came in, with their CRLF
  bool ended() const { return at_ == At::end; }

 private:
  enum class At { line_start, name, blanks, rest, end };
  void take(char c);
  At at_ = At::line_start;
  std::uint64_t fields_ = 0;
  std::uint64_t octets_ = 0;
  std::uint64_t line_octets_ = 0;  // of a line that may be a field
};

}  // namespace protocol
