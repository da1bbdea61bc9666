#include "protocol/header_filter.h"

#include <utility>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::size_t max_blanks = 64;  // held back between a field name and its colon; with more it is that field

}  // namespace

// Octet `c` at `position` of a line that has matched the field `name` so far. An end of line instead of the colon
// counts as the field too.
HeaderFilter::Match HeaderFilter::match(std::string_view name, std::size_t position, char c) {
  if (position < name.size()) return to_lower(name[position]) == to_lower(c) ? Match::open : Match::no;
  if (is_wsp(c)) return position - name.size() < max_blanks ? Match::open : Match::yes;
  return c == ':' || c == '\r' || c == '\n' ? Match::yes : Match::no;
}

HeaderFilter::HeaderFilter(std::string removed_field) : removed_field_(std::move(removed_field)) {}

void HeaderFilter::keep_held(At then, std::string& out) {
  out.append(held_);
  held_ = std::string();
  at_ = then;
}

// A line that begins so is no field that we look for, nor the blank line.
bool HeaderFilter::begins_other(char c) const {
  return c != '\r' && c != '\n' && match("Received", 0, c) == Match::no &&
         (removed_field_.empty() || match(removed_field_, 0, c) == Match::no);
}

// Where the filter stands behind this octet of a line: at `name` as long as the fate of the line is open.
HeaderFilter::At HeaderFilter::look_at(char c, std::size_t position) {
  if (blank_ == Match::open) blank_ = c == '\n' ? Match::yes : c == '\r' && position == 0 ? Match::open : Match::no;
  if (removed_ == Match::open) removed_ = match(removed_field_, position, c);
  if (received_ == Match::open) received_ = match("Received", position, c);
  if (blank_ == Match::open) return At::name;
  if (blank_ == Match::yes) return At::body;
  if (received_ == Match::yes && c == ':') ++received_fields_;
  if (removed_ == Match::yes) {
    ++removed_fields_;
    dropping_ = true;
    return c == '\n' ? At::line_start : At::drop;
  }
  if (removed_ == Match::open || received_ == Match::open) return At::name;
  return c == '\n' ? At::line_start : At::keep;
}

// Takes octets from the front of a line until it is known what to do with it.
void HeaderFilter::take_name(std::string_view& content, std::string& out) {
  std::size_t octets = 0;
  At then = At::name;
  for (; then == At::name && octets < content.size(); ++octets) then = look_at(content[octets], held_.size() + octets);
  header_octets_ += octets;
  if (then == At::name) held_.append(content.substr(0, octets));
  else if (dropping_) held_ = std::string();
  else out.append(std::exchange(held_, {})).append(content.substr(0, octets));
  at_ = then;
  content.remove_prefix(octets);
}

// Where the line ends whose fate is known.
std::size_t HeaderFilter::pass_line(std::string_view content) {
  const std::size_t lf = content.find('\n');
  if (lf != std::string_view::npos) at_ = At::line_start;
  const std::size_t octets = lf == std::string_view::npos ? content.size() : lf + 1;
  header_octets_ += octets;
  return octets;
}

// The rest of a line that stays, and the lines behind it that plainly stay, too: continuations among them.
void HeaderFilter::keep_lines(std::string_view& content, std::string& out) {
  std::size_t kept = 0;
  do {
    at_ = At::keep;
    kept += pass_line(content.substr(kept));
  } while (at_ == At::line_start && kept < content.size() && begins_other(content[kept]));
  out.append(content.substr(0, kept));
  content.remove_prefix(kept);
}

void HeaderFilter::feed(std::string_view content, std::string& out) {
  out.reserve(out.size() + held_.size() + content.size());
  while (!content.empty()) {
    switch (at_) {
      case At::line_start:
        if (is_wsp(content.front())) {
          at_ = dropping_ ? At::drop : At::keep;
        } else {
          dropping_ = false;
          removed_ = removed_field_.empty() ? Match::no : Match::open;
          received_ = blank_ = Match::open;
          at_ = begins_other(content.front()) ? At::keep : At::name;
        }
        break;
      case At::name:
        take_name(content, out);
        break;
      case At::keep:
        keep_lines(content, out);
        break;
      case At::drop:
        content.remove_prefix(pass_line(content));
        break;
      case At::body:
        out.append(content);
        return;
    }
  }
}

void HeaderFilter::finish(std::string& out) { keep_held(at_, out); }

}  // namespace protocol
