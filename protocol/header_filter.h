// Removes fields of one name from the header section while a message streams by, so that nobody can forge our verdict
// (T:A9), and counts what policy asks about. Works on canonical content (CRLF lines). Holds at most one field name.
//
// The header section ends at the first blank line and nowhere else: where readers disagree (a line without a colon, one
// of blanks) the filter goes on, so that none of them sees a copy. A field is taken as one with blanks before its colon
// (RFC 5322 4.5.8) and without any colon; its continuation lines go with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace protocol {

class HeaderFilter {
 public:
  // `removed_field` case-insensitive, without colon; empty removes nothing.
  explicit HeaderFilter(std::string removed_field);
  // Appends to `out` what stays of `content`. Any split of the input gives the same output.
  void feed(std::string_view content, std::string& out);
  // Call at end of data: gives out what was still held back.
  void finish(std::string& out);

  bool in_header() const { return at_ != At::body; }  // the blank line has not been seen yet
  // The rest of the message comes out as it goes in: the caller may do without the filter from here on.
  bool passthrough() const { return at_ == At::body; }
  std::uint64_t received_fields() const { return received_fields_; }
  std::uint64_t removed_fields() const { return removed_fields_; }
  std::uint64_t header_octets() const { return header_octets_; }  // as it came in, with the blank line

 private:
  enum class At { line_start, name, keep, drop, body };
  enum class Match { no, open, yes };
  static Match match(std::string_view name, std::size_t position, char c);
  bool begins_other(char c) const;
  At look_at(char c, std::size_t position);
  void take_name(std::string_view& content, std::string& out);
  std::size_t pass_line(std::string_view content);
  void keep_lines(std::string_view& content, std::string& out);
  void keep_held(At then, std::string& out);
  std::string removed_field_;
  std::string held_;  // the start of a line whose fate is open
  At at_ = At::line_start;
  Match removed_ = Match::open;   // is the line in held_ the field to be removed?
  Match received_ = Match::open;  // or Received?
  Match blank_ = Match::open;     // or the end of the header section?
  bool dropping_ = false;         // continuation lines follow their field
  std::uint64_t received_fields_ = 0;
  std::uint64_t removed_fields_ = 0;
  std::uint64_t header_octets_ = 0;
};

}  // namespace protocol
