#include "proxy/io/hosts_file.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "proxy/io/dns_answer.h"

namespace io {
namespace {

constexpr std::chrono::hours ttl{1};  // the file is not read again
constexpr std::string_view blank = " \t\r\v\f";

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(blank));
  line.remove_prefix(word.size());
  return word;
}

struct Parsed {
  AddressRecord record;
  std::string reverse;
};

std::optional<Parsed> parse_address(const std::string& text) {
  Parsed out;
  sockaddr_in four{};
  sockaddr_in6 six{};
  if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    std::memcpy(out.record.octets.data(), &four.sin_addr, sizeof four.sin_addr);
    out.reverse = reverse_name(reinterpret_cast<const sockaddr*>(&four));
  } else if (::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1) {
    out.record.family = AF_INET6;
    six.sin6_family = AF_INET6;
    std::memcpy(out.record.octets.data(), &six.sin6_addr, sizeof six.sin6_addr);
    out.reverse = reverse_name(reinterpret_cast<const sockaddr*>(&six));
  } else {
    return std::nullopt;
  }
  return out;
}

void add(std::vector<Record>& records, Record record) {
  if (std::ranges::find(records, record) == records.end()) records.push_back(std::move(record));
}

Lookup found(std::string_view name, std::vector<Record> records) {
  Found answer;
  answer.records = std::move(records);
  answer.ttl = ttl;
  answer.name = name;
  return answer;
}

}  // namespace

std::string folded(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

HostsFile::HostsFile(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    add_line(line.substr(0, line.find('#')));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::expected<HostsFile, std::string> HostsFile::read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  for (char piece[16384]; file.read(piece, sizeof piece), file.gcount() > 0;)
    text.append(piece, static_cast<std::size_t>(file.gcount()));
  if (!file.is_open() || file.bad()) return std::unexpected(std::string(std::strerror(errno)));
  return HostsFile(text);
}

void HostsFile::add_line(std::string_view line) {
  const auto address = parse_address(std::string(next_word(line)));
  if (!address) return;
  for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
    if (!is_domain_name(word)) continue;
    add(addresses_[folded(word)], address->record);
    names_.try_emplace(address->reverse, 1, PtrRecord{std::string(word)});
  }
}

std::optional<Lookup> HostsFile::look_up(std::string_view name, RecordType type) const {
  const bool wants_address = type == RecordType::a || type == RecordType::aaaa;
  if (!wants_address && type != RecordType::ptr) return std::nullopt;
  const auto& all = wants_address ? addresses_ : names_;
  const auto known = all.find(folded(name));
  if (known == all.end()) return std::nullopt;
  if (!wants_address) return found(name, known->second);
  const int family = type == RecordType::a ? AF_INET : AF_INET6;
  std::vector<Record> records;
  for (const Record& record : known->second)
    if (std::get<AddressRecord>(record).family == family) records.push_back(record);
  if (records.empty())
    return not_found(NotFound::Why::no_data, "only an address of the other family in the hosts file", ttl);
  return found(name, std::move(records));
}

}  // namespace io
