#include "test/playbooks/witness.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace playbook {
namespace {

// Calls `take` for each line that `bytes` complete; `line` keeps the rest.
template <class Take>
void each_line(std::string& line, std::string_view bytes, Take take) {
  for (const char c : bytes) {
    line += c;
    if (c != '\n') continue;
    const std::string whole = std::exchange(line, {});
    take(std::string_view(whole));
  }
}

bool is_last_line(std::string_view reply_line) { return reply_line.size() > 3 && reply_line[3] != '-'; }
// CRLF, and no CR, LF or NUL elsewhere: another line is no reply (T:B8).
bool is_well_formed(std::string_view line) {
  return line.ends_with("\r\n") && line.find_first_of(std::string_view("\r\n\0", 3)) == line.size() - 2;
}
std::string_view without_line_end(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

std::optional<ChunkSize> chunk_size(std::string_view command) {
  std::string upper(command);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  while (upper.ends_with('\n') || upper.ends_with('\r') || upper.ends_with(' ')) upper.pop_back();
  if (!upper.starts_with("BDAT ")) return std::nullopt;
  ChunkSize size;
  const char* const end = upper.data() + upper.size();
  const auto parsed = std::from_chars(upper.data() + 5, end, size.octets);
  const std::string_view rest(parsed.ptr, end);
  size.last = rest == " LAST";
  if (parsed.ec != std::errc() || (!rest.empty() && !size.last)) return std::nullopt;
  return size;
}

void ClientWitness::client_sent(std::string_view bytes) {
  for (const char c : bytes) {
    if (at_ == At::chunk) {
      if (--chunk_left_ == 0) at_ = At::command;
      if (at_ == At::command && asked_.back() == "LAST") ++finished_;
    } else {
      at_ == At::content ? content(c) : command(c);
    }
  }
}

void ClientWitness::content(char c) {
  tail_ += c;
  if (tail_.size() > 5) tail_.erase(0, 1);
  if (tail_ != "\r\n.\r\n") return;
  at_ = At::answer;
  ++finished_;
}

void ClientWitness::command(char c) {
  constexpr std::size_t enough = 40;
  if (command_.size() < enough) command_ += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (c != '\n') return;
  if (!std::exchange(answered_early_, false)) asked_.push_back(command_);
  if (const auto chunk = chunk_size(std::exchange(command_, {}))) {
    asked_.back() = chunk->last ? "LAST" : "CHUNK";
    chunk_left_ = chunk->octets;
    if (chunk_left_ != 0) at_ = At::chunk;
    else if (chunk->last) ++finished_;
  }
}

void ClientWitness::client_received(std::string_view bytes) {
  each_line(line_, bytes, [this](std::string_view line) {
    if (is_last_line(line)) reply(line);
  });
}

void ClientWitness::reply(std::string_view line) {
  if (++replies_ == 1) return;  // the banner
  if (at_ == At::answer) {
    answers_.emplace_back(without_line_end(line));
    at_ = At::command;
    return;
  }
  if (line.starts_with("354")) {
    at_ = At::content;
    tail_ = "\r\n";
  }
  answered_early_ = asked_.empty() && !command_.empty();
  if (asked_.empty()) return;
  if (asked_.front().starts_with("MAIL") && line.starts_with('2')) ++mails_accepted_;
  if (asked_.front() == "LAST") answers_.emplace_back(without_line_end(line));
  asked_.pop_front();
}

bool ClientWitness::quits() const {
  return std::ranges::any_of(asked_, [](const std::string& command) { return command.starts_with("QUIT"); });
}

std::size_t ClientWitness::promised() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(answers_, [](const std::string& a) { return a.starts_with('2'); }));
}

void DownstreamWitness::downstream_sent(std::string_view bytes) {
  each_line(reply_line_, bytes, [this](std::string_view line) {
    if (!is_last_line(line)) return;
    if (!std::exchange(greeted_, true)) return;
    const bool to_chunk = at_ == At::answer && chunk_size(commands_.back());
    if (to_chunk) ++answered_;
    if (at_ != At::answer && answered_ < commands_.size())
      if (commands_[answered_++].starts_with("MAIL") && line.starts_with('2') && is_well_formed(line))
        ++mails_accepted_;
    if (at_ == At::asked) {
      at_ = line.starts_with("354") ? At::content : At::command;
      content_.clear();
    } else if (at_ == At::answer) {
      if (line.starts_with('2')) ++accepted_;
      at_ = At::command;
    }
  });
}

void DownstreamWitness::downstream_received(std::string_view bytes) {
  if (header_ && (began_ || bytes.starts_with('\r') || bytes.starts_with("PROXY "))) {
    began_ = true;
    const auto parsed = header_->feed(bytes);
    if (parsed && !*parsed) return;
  }
  header_.reset();
  for (const char c : bytes) {
    if (at_ == At::content) {
      content_ += c;
      if (content_ != ".\r\n" && !content_.ends_with("\r\n.\r\n")) continue;
      messages_.push_back(std::exchange(content_, {}));
      at_ = At::answer;
      continue;
    }
    if (at_ == At::chunk) {
      open_.content += c;
      if (--chunk_left_ == 0) end_chunk();
      continue;
    }
    each_line(line_, std::string_view(&c, 1), [this](std::string_view line) { command(without_line_end(line)); });
  }
}

void DownstreamWitness::command(std::string_view line) {
  commands_.emplace_back(line);
  if (at_ != At::command) return;
  if (line == "DATA") at_ = At::asked;
  if (line.starts_with("MAIL")) binary_ = line.find(" BODY=BINARYMIME") != std::string_view::npos;
  const auto chunk = chunk_size(line);
  if (!chunk) return;
  open_.binary = binary_;
  chunk_left_ = chunk->octets;
  last_chunk_ = chunk->last;
  at_ = At::chunk;
  if (chunk_left_ == 0) end_chunk();
}

void DownstreamWitness::end_chunk() {
  at_ = last_chunk_ ? At::answer : At::command;
  if (last_chunk_) chunked_.push_back(std::exchange(open_, {}));
}

std::string unstuffed(std::string_view wire) {
  wire.remove_suffix(3);
  std::string content;
  bool line_start = true;
  for (std::size_t i = 0; i < wire.size(); ++i) {
    if (!line_start || wire[i] != '.') content += wire[i];
    line_start = wire[i] == '\n' && i > 0 && wire[i - 1] == '\r';
  }
  return content;
}

bool has_canonical_lines(std::string_view content) {
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '\r' && (i + 1 == content.size() || content[i + 1] != '\n')) return false;
    if (content[i] == '\n' && (i == 0 || content[i - 1] != '\r')) return false;
  }
  return content.empty() || content.ends_with("\r\n");
}

bool is_canonical(std::string_view wire) {
  if (!has_canonical_lines(wire)) return false;
  if (wire == ".\r\n") return true;
  return wire.find("\r\n.\r\n") == wire.size() - 5 && !wire.starts_with(".\r\n");
}

}  // namespace playbook
