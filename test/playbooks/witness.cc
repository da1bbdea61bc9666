#include "test/playbooks/witness.h"

#include <algorithm>
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
std::string_view without_line_end(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

void ClientWitness::client_sent(std::string_view bytes) {
  for (const char c : bytes) {
    if (at_ != At::content) return;
    tail_ += c;
    if (tail_.size() > 5) tail_.erase(0, 1);
    if (tail_ == "\r\n.\r\n") at_ = At::answer;
  }
}

void ClientWitness::client_received(std::string_view bytes) {
  each_line(line_, bytes, [this](std::string_view line) {
    if (!is_last_line(line)) return;
    ++replies_;
    if (at_ == At::answer) {
      answers_.emplace_back(without_line_end(line));
      at_ = At::command;
    } else if (line.starts_with("354")) {
      at_ = At::content;
      tail_ = "\r\n";
    }
  });
}

std::size_t ClientWitness::promised() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(answers_, [](const std::string& a) { return a.starts_with('2'); }));
}

void DownstreamWitness::downstream_sent(std::string_view bytes) {
  each_line(reply_line_, bytes, [this](std::string_view line) {
    if (!is_last_line(line)) return;
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
  for (const char c : bytes) {
    if (at_ == At::content) {
      content_ += c;
      if (content_ != ".\r\n" && !content_.ends_with("\r\n.\r\n")) continue;
      messages_.push_back(std::exchange(content_, {}));
      at_ = At::answer;
      continue;
    }
    each_line(line_, std::string_view(&c, 1), [this](std::string_view line) {
      commands_.emplace_back(without_line_end(line));
      if (at_ == At::command && commands_.back() == "DATA") at_ = At::asked;
    });
  }
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

bool is_canonical(std::string_view wire) {
  for (std::size_t i = 0; i < wire.size(); ++i) {
    if (wire[i] == '\r' && (i + 1 == wire.size() || wire[i + 1] != '\n')) return false;
    if (wire[i] == '\n' && (i == 0 || wire[i - 1] != '\r')) return false;
  }
  if (wire == ".\r\n") return true;
  return wire.find("\r\n.\r\n") == wire.size() - 5 && !wire.starts_with(".\r\n");
}

}  // namespace playbook
