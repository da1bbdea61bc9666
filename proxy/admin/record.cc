// Record: the two line formats. A field that would make the line longer than max_line is left out, and the line says
// so.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "config/direction.h"
#include "proxy/admin/escape.h"
#include "proxy/admin/log.h"

namespace admin {
namespace {

constexpr std::size_t max_line = 8192;  // octets, with what take() adds
constexpr std::size_t reserve = 24;     // for the mark of an incomplete line
constexpr std::size_t max_value = 512;
constexpr std::size_t max_sentence = 2048;  // of the program's own words: paths and error lists are long

std::string_view name_of(Level level) {
  switch (level) {
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "error";
}

// Bare values are what grep and the Postfix log tools split at: no space, comma, quote, bracket or equals sign.
constexpr std::array<bool, 256> fits_bare = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = 0x21; c < 0x7f; ++c)
    table[c] = std::string_view(",\"\\=<>").find(static_cast<char>(c)) == std::string_view::npos;
  return table;
}();
bool bare(std::string_view value) {
  return !value.empty() &&
         std::all_of(value.begin(), value.end(), [](char c) { return fits_bare[static_cast<unsigned char>(c)]; });
}

}  // namespace

Record::Record(config::LogFormat format, Level level, std::string_view trace_id) : format_(format) {
  line_.reserve(512);
  if (format_ == config::LogFormat::json) {
    line_ += "{\"level\":\"";
    line_ += name_of(level);
    line_ += '"';
    first_ = false;
    if (!trace_id.empty()) text("id", trace_id);
    return;
  }
  if (!trace_id.empty()) {
    append_text(line_, trace_id, max_value);
    line_ += ": ";
  }
  if (level != Level::info) {
    line_ += name_of(level);
    line_ += ": ";
  }
}

// Everything of a field up to its value, and as much of that as stands as it is. The key is ours, not the client's.
void Record::begin(std::string_view key, std::string_view value) {
  const bool json = format_ == config::LogFormat::json;
  const std::size_t before = line_.size();
  const std::size_t most = before + key.size() + value.size() + std::string_view(",\"\":").size();
  line_.resize_and_overwrite(most, [&](char* to, std::size_t) {
    char* at = to + before;
    if (!first_) *at++ = ',';
    if (json) *at++ = '"';
    else if (!first_) *at++ = ' ';
    at = std::copy(key.begin(), key.end(), at);
    if (json) *at++ = '"', *at++ = ':';
    else if (!key.empty()) *at++ = '=';
    return static_cast<std::size_t>(std::copy(value.begin(), value.end(), at) - to);
  });
  first_ = false;
}

// Takes the field back that began at `start` when the line has become too long.
Record& Record::settle(std::size_t start, bool was_first) {
  if (line_.size() + reserve <= max_line) return *this;
  line_.resize(start);
  first_ = was_first;
  cut_ = true;
  return *this;
}

Record& Record::field(std::string_view key, std::string_view value, std::string_view open, std::string_view close,
                      std::string_view also) {
  const std::size_t start = line_.size();
  const bool was_first = first_;
  const bool json = format_ == config::LogFormat::json;
  begin(key, json ? "\"" : open);
  if (json) {
    append_json(line_, value, max_value);
    line_ += '"';
  } else {
    append_text(line_, value, max_value, also);
    line_ += close;
  }
  return settle(start, was_first);
}

Record& Record::text(std::string_view key, std::string_view value) {
  if (!bare(value)) return field(key, value, "\"", "\"", "\"");
  return format_ == config::LogFormat::json || value.size() > max_value ? field(key, value, "", "", "")
                                                                         : plain(key, value);
}

// A value that may stand as it is.
Record& Record::plain(std::string_view key, std::string_view value) {
  const std::size_t start = line_.size();
  const bool was_first = first_;
  begin(key, value);
  return settle(start, was_first);
}

Record& Record::path(std::string_view key, std::string_view value) { return field(key, value, "<", ">", "<>"); }

Record& Record::quoted(std::string_view key, std::string_view value) { return field(key, value, "\"", "\"", "\""); }

Record& Record::number(std::string_view key, std::uint64_t value) {
  char digits[24];
  return plain(key, std::string_view(digits, std::to_chars(digits, digits + sizeof digits, value).ptr));
}

Record& Record::seconds(std::string_view key, double value) {
  // JSON has no NaN and no infinity, and a clock that jumped is not worth a broken line.
  const double sane = std::isfinite(value) && value > 0 ? std::min(value, 1e9) : 0.0;
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, sane, std::chars_format::fixed, 3);
  return plain(key, std::string_view(digits, end.ptr));
}

Record& Record::listener(std::string_view name, std::string_view direction) {
  text("listener", name);
  return direction.empty() ? *this : text("direction", direction);
}

Record& Record::listener(const config::Listener& which) { return listener(which.name, config::told_direction(which)); }

Record& Record::message(std::string_view sentence) {
  const std::size_t start = line_.size();
  const bool was_first = first_;
  if (format_ == config::LogFormat::json) {
    begin("message", "\"");
    append_json(line_, sentence, max_sentence);
    line_ += '"';
  } else {
    begin({}, {});
    append_text(line_, sentence, max_sentence);
  }
  return settle(start, was_first);
}

std::string Record::take() && {
  const bool json = format_ == config::LogFormat::json;
  if (cut_) line_ += json ? ",\"truncated\":true" : first_ ? "truncated=true" : ", truncated=true";
  if (json) line_ += '}';
  return std::move(line_);
}

}  // namespace admin
