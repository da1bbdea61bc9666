#include "test/bench/content.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace bench {
namespace {

constexpr std::size_t columns = 76;
// 64 symbols, spread like English text; no dot, so that generated lines never need stuffing.
constexpr std::string_view letters = "eeeeeetttttaaaaooooiiiinnnnssshhhrrrddlluucmfwygpbvk            ,";
static_assert(letters.size() >= 64);

std::string canonical(std::string_view raw) {
  std::string out;
  out.reserve(raw.size() + raw.size() / 32 + 2);
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '\r' || raw[i] == '\n') {
      if (raw[i] == '\r' && i + 1 < raw.size() && raw[i + 1] == '\n') ++i;
      out += "\r\n";
    } else {
      out += raw[i];
    }
  }
  if (!out.ends_with("\r\n")) out += "\r\n";
  return out;
}

std::string header_section(std::uint64_t seed, std::uint64_t index) {
  const std::string unique = std::to_string(seed) + "." + std::to_string(index);
  return "Received: from sender.example (sender.example [192.0.2.1]) by relay.example with ESMTP id " + unique +
         ";\r\n\tMon, 06 Jan 2025 10:00:00 +0000\r\n"
         "From: Sender <sender@sender.example>\r\nTo: Recipient <recipient@recipient.example>\r\n"
         "Subject: load " +
         unique + "\r\nDate: Mon, 06 Jan 2025 10:00:00 +0000\r\nMessage-ID: <" + unique +
         "@sender.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n";
}

}  // namespace

std::vector<std::string> load_corpus(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + file.string());
    corpus.push_back(canonical(std::string(std::istreambuf_iterator<char>(in), {})));
  }
  if (corpus.empty()) throw std::runtime_error("no files in " + directory);
  return corpus;
}

std::string dot_stuffed(std::string_view content) {
  std::string out;
  out.reserve(content.size() + content.size() / 64);
  bool at_line_start = true;
  for (const char c : content) {
    if (at_line_start && c == '.') out += '.';
    out += c;
    at_line_start = c == '\n';
  }
  return out;
}

ContentStream::ContentStream(std::uint64_t seed, std::uint64_t index, std::size_t size)
    : header_(header_section(seed, index)), left_(size), random_(seed * 0x9e3779b97f4a7c15u + index) {
  if (size < smallest_content) throw std::invalid_argument("content below the smallest size");
}

std::uint64_t ContentStream::next_random() {  // splitmix64
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void ContentStream::append_line(std::string& out) {
  // The last line takes what is left; a remainder of one octet, which is no line, is avoided one line before.
  std::size_t length = columns;
  if (left_ <= columns + 2) length = left_ - 2;
  else if (left_ == columns + 3) length = columns - 1;
  const std::size_t start = out.size();
  out.resize(start + length + 2);
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < length; ++i) {
    if (i % 10 == 0) bits = next_random();
    out[start + i] = letters[bits & 63];
    bits >>= 6;
  }
  out[start + length] = '\r';
  out[start + length + 1] = '\n';
  left_ -= length + 2;
}

void ContentStream::append_to(std::string& out, std::size_t wanted) {
  if (!text_.empty()) {
    const std::size_t piece = std::min(wanted, text_.size());
    out.append(text_.substr(0, piece));
    text_.remove_prefix(piece);
    left_ = text_.size();
    return;
  }
  const std::size_t start = out.size();
  if (!header_.empty()) {
    out += header_;
    left_ -= header_.size();
    header_.clear();
  }
  while (left_ > 0 && out.size() - start < wanted) append_line(out);
}

}  // namespace bench
