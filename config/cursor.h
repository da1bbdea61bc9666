// Positions in a JSON text, for a parser that tells where an error is but not where a value began.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/problems.h"

namespace config {

// Follows the lexer through the text: one take() per token that the lexer has found correct.
class Cursor {
 public:
  Cursor(std::string_view text, std::uint32_t file);  // `text` must outlive it; a byte order mark is no column
  // Where the next token begins, past white space, comments and at most one separator; an unclosed comment is a token.
  Place next();
  // The same, and goes behind that token.
  Place take();
  std::string_view token() const { return text_.substr(token_start_, offset_ - token_start_); }  // the one taken last
  Place at(std::size_t offset);                                                                  // only forward

 private:
  Place here() const;
  void go(std::size_t offset);
  void skip_blank();
  void skip_string();
  void skip_number();
  void skip_all(std::string_view set);

  std::string_view text_;
  std::uint32_t file_;
  std::size_t offset_ = 0, token_start_ = 0, line_ = 1, line_start_ = 0;
  bool separated_ = false;
};

// The first octet that no config text may hold: control characters (NUL above all) and invalid UTF-8.
struct BadOctet {
  Place place;
  std::string what;
};
std::optional<BadOctet> find_bad_octet(std::string_view text, std::uint32_t file);

}  // namespace config
