#include "protocol/line_buffer.h"

#include <algorithm>
#include <utility>

namespace protocol {

// The unfinished line is too long whatever follows. One octet over the limit may still be the CR of its CRLF.
bool LineBuffer::overflows() const {
  const std::size_t length = bytes_.size() - begin_;
  return length > limit_ + 1 || (length == limit_ + 1 && bytes_.back() != '\r');
}

void LineBuffer::append(std::string_view bytes) {
  if (skipping_) {
    const std::size_t lf = bytes.find('\n');
    if (lf == std::string_view::npos) return;
    skipping_ = false;
    bytes.remove_prefix(lf + 1);
  } else if (overflows() && find_lf() == std::string::npos) {
    // Nobody took the report of a line that is too long yet: more of it changes nothing and is not kept.
    bytes.remove_prefix(std::min(bytes.find('\n'), bytes.size()));
  }
  if (bytes.empty()) return;
  if (begin_ > 0) {
    bytes_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  bytes_.append(bytes);
}

std::optional<Line> LineBuffer::next() {
  std::optional<Line> found;
  if (bytes_.empty()) return found;
  const std::size_t lf = find_lf();
  if (lf == std::string::npos && !overflows()) {
    scanned_ = bytes_.size();
    return found;
  }
  skipping_ = lf == std::string::npos;
  std::string_view text = std::string_view(bytes_).substr(begin_, skipping_ ? limit_ : lf - begin_);
  Line& line = found.emplace();
  const bool crlf = !skipping_ && text.ends_with('\r');
  if (crlf) text.remove_suffix(1);
  line.too_long = skipping_ || text.size() > limit_;
  line.bare_lf = !crlf && !line.too_long;
  text = text.substr(0, limit_);
  line.bare_cr = text.find('\r') != std::string::npos;
  line.nul = text.find('\0') != std::string::npos;
  const bool only = begin_ == 0 && lf + 1 == bytes_.size();
  begin_ = scanned_ = skipping_ ? bytes_.size() : lf + 1;
  if (only) {  // nearly always: it takes the memory along
    bytes_.resize(text.size());
    line.text = std::move(bytes_);
  } else {
    line.text = text;
  }
  if (only || begin_ == bytes_.size()) release();
  return found;
}

void LineBuffer::release() {
  std::string().swap(bytes_);  // clear() would keep the memory
  begin_ = scanned_ = 0;
}

void LineBuffer::skip(std::size_t count) {
  begin_ = scanned_ = std::min(begin_ + count, bytes_.size());
  if (begin_ == bytes_.size()) release();
}

std::string LineBuffer::take_rest() {
  std::string rest = begin_ == 0 ? std::move(bytes_) : bytes_.substr(begin_);
  release();
  return rest;
}

}  // namespace protocol
