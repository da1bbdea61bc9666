#include "proxy/keeper/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "proxy/keeper/failure.h"

namespace keeper {
namespace {

using scanner::OwnedFd;

// octets 0-7 seconds since 1970, little-endian, 0 = the key is forgotten; 8-39 key; 40-47 XXH3 of all before it
constexpr std::size_t record_octets = 48;
constexpr std::size_t key_at = 8, sum_at = 40;
constexpr std::string_view file_mark = "gatepost journal 1\n";  // filled up with NUL to the size of a record
constexpr std::uint64_t least_to_compact = 1024;                // records
constexpr std::int64_t clock_slack = 3600;                      // seconds

void put(std::uint64_t value, char* at) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<char>(value >> (8 * i) & 0xFFU);
}
std::uint64_t get(const char* at) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value |= static_cast<std::uint64_t>(static_cast<unsigned char>(at[i])) << (8 * i);
  return value;
}

std::string record_of(std::string_view key, std::int64_t time) {
  std::string record(record_octets, '\0');
  put(static_cast<std::uint64_t>(time), record.data());
  std::memcpy(record.data() + key_at, key.data(), key_octets);
  put(XXH3_64bits(record.data(), sum_at), record.data() + sum_at);
  return record;
}
bool is_whole(const char* record) { return get(record + sum_at) == XXH3_64bits(record, sum_at); }

std::string mark() {
  std::string text(file_mark);
  text.resize(record_octets);
  return text;
}

std::unexpected<std::string> trouble(std::string_view what, const std::string& path) {
  return std::unexpected(failure(errno, what, path).text);
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = uninterrupted([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::expected<std::string, std::string> content_of(int fd, const std::string& path) {
  std::string all;
  char piece[65536];
  for (;;) {
    const ssize_t got = uninterrupted([&] { return ::read(fd, piece, sizeof piece); });
    if (got < 0) return trouble("read", path);
    if (got == 0) return all;
    all.append(piece, static_cast<std::size_t>(got));
  }
}

bool sync_directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  const OwnedFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && ::fsync(fd.get()) == 0;
}

}  // namespace

std::expected<void, std::string> Journal::ready(std::int64_t now) {
  if (!file_) {
    if (auto loaded = load(); !loaded) return loaded;
  }
  expire(now);
  return {};
}

std::expected<void, std::string> Journal::load() {
  known_.clear();
  age_.clear();
  OwnedFd file(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return trouble("open", path_);
  auto all = content_of(file.get(), path_);
  if (!all) return std::unexpected(std::move(all.error()));
  // A file that we made and could not finish is as good as none; anything else is kept for somebody to look at.
  const bool begun = mark().starts_with(std::string_view(*all).substr(0, record_octets));
  if (!begun) {
    const std::string aside = path_ + ".damaged";
    if (::rename(path_.c_str(), aside.c_str()) != 0) return trouble("rename", path_);
    say(path_ + " is no journal and was put aside as " + aside);
    all->clear();
  }
  std::uint64_t skipped = all->size() % record_octets == 0 || all->size() < record_octets ? 0 : 1;
  records_ = 0;
  for (std::size_t at = record_octets; at + record_octets <= all->size(); at += record_octets, ++records_) {
    const char* const record = all->data() + at;
    Key key;
    std::memcpy(key.data(), record + key_at, key.size());
    if (is_whole(record)) take(key, static_cast<std::int64_t>(get(record)));
    else ++skipped;
  }
  if (skipped != 0) say(fmt::format("{}: {} damaged records were skipped", path_, skipped));
  std::ranges::stable_sort(age_, {}, &std::pair<std::int64_t, Key>::first);
  file_ = std::move(file);
  // Appending behind a torn record would tear the next ones too.
  if (!begun || skipped != 0 || all->size() < record_octets) return compact();
  return {};
}

void Journal::take(const Key& key, std::int64_t time) {
  if (time == 0) {
    known_.erase(key);
    return;
  }
  known_[key] = time;
  age_.emplace_back(time, key);
}

void Journal::expire(std::int64_t now) {
  std::size_t driven_out = 0;
  while (!age_.empty()) {
    const auto& [time, key] = age_.front();
    const auto found = known_.find(key);
    const bool current = found != known_.end() && found->second == time;
    if (current && known_.size() <= most_ && now - time < kept_seconds) break;
    if (current) {
      driven_out += now - time < kept_seconds ? 1 : 0;
      known_.erase(found);
    }
    age_.pop_front();
  }
  if (driven_out != 0) say(fmt::format("the journal is full: {} of its oldest entries had to go", driven_out));
}

std::expected<bool, std::string> Journal::knows(std::string_view key, std::int64_t now) {
  if (auto done = ready(now); !done) return std::unexpected(std::move(done.error()));
  Key wanted;
  std::memcpy(wanted.data(), key.data(), wanted.size());
  const auto found = known_.find(wanted);
  // A clock that was set back must not keep a message from its recipient: what lies ahead does not count.
  return found != known_.end() && now - found->second < kept_seconds && found->second <= now + clock_slack;
}

std::expected<void, std::string> Journal::remember(std::string_view keys, std::int64_t now) {
  if (auto done = ready(now); !done) return done;
  std::string records;
  for (; keys.size() >= key_octets; keys.remove_prefix(key_octets)) {
    Key key;
    std::memcpy(key.data(), keys.data(), key.size());
    records += record_of(keys, now);
    take(key, now);
  }
  expire(now);
  return append(records);
}

std::expected<void, std::string> Journal::forget(std::string_view keys, std::int64_t now) {
  if (auto done = ready(now); !done) return done;
  std::string records;
  for (; keys.size() >= key_octets; keys.remove_prefix(key_octets)) {
    Key key;
    std::memcpy(key.data(), keys.data(), key.size());
    if (known_.erase(key) != 0) records += record_of(keys, 0);
  }
  return records.empty() ? std::expected<void, std::string>() : append(records);
}

// The index is ahead of the file by what stands in `records`.
std::expected<void, std::string> Journal::append(std::string_view records) {
  const std::uint64_t count = records.size() / record_octets;
  if (suspect_ || records_ + count > 2 * known_.size() + least_to_compact) return compact();
  if (!write_all(file_.get(), records) || ::fdatasync(file_.get()) != 0) {
    suspect_ = true;  // what is on the disk now nobody knows, and a second fsync would not say
    return trouble("write", path_);
  }
  records_ += count;
  return {};
}

// What is forgotten leaves the memory, too.
void Journal::put_in_order() {
  std::deque<std::pair<std::int64_t, Key>> age;
  for (const auto& [key, time] : known_) age.emplace_back(time, key);
  std::ranges::sort(age);
  age_ = std::move(age);
}

std::expected<void, std::string> Journal::compact() {
  suspect_ = true;
  put_in_order();
  const std::string next = path_ + ".new";
  ::unlink(next.c_str());
  OwnedFd file(::open(next.c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  if (!file) return trouble("make", next);
  std::string all = mark();
  for (const auto& [time, key] : age_) all += record_of({key.data(), key.size()}, time);
  if (!write_all(file.get(), all) || ::fsync(file.get()) != 0) return trouble("write", next);
  if (::rename(next.c_str(), path_.c_str()) != 0) return trouble("rename", next);
  if (!sync_directory_of(path_)) return trouble("fsync the directory of", path_);
  file_ = std::move(file);
  records_ = age_.size();
  suspect_ = false;
  return {};
}

}  // namespace keeper
