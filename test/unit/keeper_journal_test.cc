#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "proxy/keeper/journal.h"

using keeper::Journal;

namespace {

constexpr std::int64_t today = 1'700'000'000;
constexpr std::size_t record = 48;

std::string key(unsigned number) {
  std::string text = "key " + std::to_string(number);
  text.resize(keeper::key_octets, '.');
  return text;
}

struct Place {
  Place() {
    // Hundreds of fsyncs: in memory they take no time.
    const std::filesystem::path memory("/dev/shm");
    const bool usable = std::filesystem::is_directory(memory) && ::access(memory.c_str(), W_OK) == 0;
    std::string name = (usable ? memory : std::filesystem::temp_directory_path()) / "gp-journal-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    directory = name;
  }
  ~Place() { std::filesystem::remove_all(directory); }
  std::string path() const { return directory / "journal"; }
  std::string read() const {
    std::ifstream file(path(), std::ios::binary);
    std::ostringstream all;
    all << file.rdbuf();
    return all.str();
  }
  void write(const std::string& octets) const { std::ofstream(path(), std::ios::binary | std::ios::trunc) << octets; }
  std::filesystem::path directory;
};

bool knows(Journal& journal, unsigned number, std::int64_t now = today) {
  const auto known = journal.knows(key(number), now);
  REQUIRE_MESSAGE(known.has_value(), (known ? "" : known.error()));
  return *known;
}

}  // namespace

TEST_CASE("journal: what is remembered and forgotten again and again takes no more and more memory") {
  const Place place;
  Journal journal(place.path());
  REQUIRE(journal.remember(key(0), today));  // it lives on, and it is the oldest
  for (unsigned i = 1; i <= 5000; ++i) {
    REQUIRE(journal.remember(key(i % 3 + 1), today + i / 10));
    if (i % 2 == 0) REQUIRE(journal.forget(key(i % 3 + 1), today + i / 10));
  }
  CHECK(journal.size() <= 4);
  CHECK(journal.held() <= 1100);
  CHECK(knows(journal, 0, today + 500));
}

TEST_CASE("journal: what is remembered is known to the next process, what is forgotten is not") {
  const Place place;
  {
    Journal journal(place.path());
    CHECK_FALSE(knows(journal, 1));
    REQUIRE(journal.remember(key(1) + key(2), today));
    REQUIRE(journal.remember(key(3), today));
    CHECK(knows(journal, 1));
    REQUIRE(journal.forget(key(2) + key(9), today));
    CHECK_FALSE(knows(journal, 2));
  }
  struct stat status {};
  REQUIRE(::stat(place.path().c_str(), &status) == 0);
  CHECK(status.st_mode == (S_IFREG | 0600));
  Journal journal(place.path());
  CHECK(knows(journal, 1));
  CHECK_FALSE(knows(journal, 2));
  CHECK(knows(journal, 3));
  CHECK_FALSE(knows(journal, 4));
  CHECK(journal.take_notice() == "");
}

TEST_CASE("journal: five days, counted from the last time") {
  const Place place;
  Journal journal(place.path());
  REQUIRE(journal.remember(key(1) + key(2), today));
  REQUIRE(journal.remember(key(2), today + 1000));
  CHECK(knows(journal, 1, today + Journal::kept_seconds - 1));
  CHECK_FALSE(knows(journal, 1, today + Journal::kept_seconds));
  CHECK(knows(journal, 2, today + Journal::kept_seconds));
  Journal again(place.path());
  CHECK_FALSE(knows(again, 1, today + Journal::kept_seconds));
  CHECK(knows(again, 2, today + Journal::kept_seconds + 999));
  CHECK_FALSE(knows(again, 2, today + Journal::kept_seconds + 1000));
  CHECK(again.size() == 0);
}

TEST_CASE("journal: cut at any octet, it knows every whole record before the cut and takes new ones") {
  const Place place;
  {
    Journal journal(place.path());
    for (unsigned i = 0; i < 4; ++i) REQUIRE(journal.remember(key(i), today));
  }
  const std::string whole = place.read();
  REQUIRE(whole.size() == 5 * record);
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    CAPTURE(length);
    place.write(whole.substr(0, length));
    {
      Journal journal(place.path());
      for (unsigned i = 0; i < 4; ++i) CHECK(knows(journal, i) == (length >= (i + 2) * record));
      const bool torn = length > record && length % record != 0;
      CHECK(journal.take_notice().empty() != torn);
      REQUIRE(journal.remember(key(7), today));
    }
    Journal again(place.path());
    CHECK(knows(again, 7));
    CHECK(knows(again, 0) == (length >= 2 * record));
    CHECK(again.take_notice() == "");
  }
}

TEST_CASE("journal: any octet changed costs its own record and no other, and is told") {
  const Place place;
  {
    Journal journal(place.path());
    for (unsigned i = 0; i < 3; ++i) REQUIRE(journal.remember(key(i), today));
  }
  const std::string whole = place.read();
  for (std::size_t at = record; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    place.write(bad);
    Journal journal(place.path());
    for (unsigned i = 0; i < 3; ++i) CHECK(knows(journal, i) == (at / record != i + 1));
    CHECK(journal.take_notice().find("1 damaged records were skipped") != std::string::npos);
  }
}

TEST_CASE("journal: a file that is none is put aside, not written over") {
  const Place place;
  const std::string foreign(1000, 'x');
  place.write(foreign);
  Journal journal(place.path());
  CHECK_FALSE(knows(journal, 1));
  CHECK(journal.take_notice().find("put aside") != std::string::npos);
  REQUIRE(journal.remember(key(1), today));
  CHECK(std::filesystem::file_size(place.path() + ".damaged") == 1000);
  Journal again(place.path());
  CHECK(knows(again, 1));
}

TEST_CASE("journal: bounded; the oldest go, and the file does not grow for ever") {
  const Place place;
  Journal journal(place.path(), 100);
  for (unsigned i = 0; i < 300; ++i) REQUIRE(journal.remember(key(i), today + i));
  CHECK(journal.size() == 100);
  CHECK_FALSE(knows(journal, 199, today + 300));
  CHECK(knows(journal, 200, today + 300));
  CHECK(journal.take_notice().find("full") != std::string::npos);
  for (unsigned i = 0; i < 60; ++i) {
    std::string fifty;
    for (unsigned k = 0; k < 50; ++k) fifty += key(k);
    REQUIRE(journal.remember(fifty, today + 400 + i));
  }
  CHECK(std::filesystem::file_size(place.path()) <= (1 + 2 * 100 + 1024 + 50) * record);
  Journal again(place.path(), 100);
  for (unsigned i = 0; i < 50; ++i) CHECK(knows(again, i, today + 500));
  CHECK_FALSE(std::filesystem::exists(place.path() + ".new"));
}

TEST_CASE("journal: what could not be written is an error, and the file is sound afterwards") {
  const Place place;
  Journal journal(place.path());
  REQUIRE(journal.remember(key(1), today));
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  rlimit small = limit;
  small.rlim_cur = 2 * record + record / 2;  // the next record can be written by half
  const auto former = ::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto failed = journal.remember(key(2), today);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  ::signal(SIGXFSZ, former);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().find(place.path()) != std::string::npos);
  {
    Journal other(place.path());  // a process that came in between
    CHECK(knows(other, 1));
    CHECK_FALSE(knows(other, 2));
  }
  REQUIRE(journal.remember(key(3), today));
  Journal again(place.path());
  CHECK(knows(again, 1));
  CHECK(knows(again, 3));
}

TEST_CASE("journal: without a directory it can be neither asked nor written") {
  Journal journal("/nonexistent/journal");
  CHECK_FALSE(journal.knows(key(1), today).has_value());
  CHECK_FALSE(journal.remember(key(1), today).has_value());
}

namespace {

// Of the n-th call in a round; many records, so that the file is soon written anew.
std::string batch(unsigned round, unsigned number) {
  std::string keys;
  for (int i = 0; i < 50; ++i) keys += key(round * 100 + number % 8);
  return keys;
}

// Never returns; a number on `told` for each batch that is remembered.
[[noreturn]] void remember_for_ever(const std::string& path, unsigned round, int told) {
  Journal journal(path);
  for (unsigned number = 0;; ++number) {
    if (!journal.remember(batch(round, number), today)) ::_exit(1);
    const auto octet = static_cast<unsigned char>(number % 8);
    if (::write(told, &octet, 1) != 1) ::_exit(2);
  }
}

}  // namespace

TEST_CASE("journal: killed in the middle of it, whatever was answered is there") {
  const Place place;
  for (unsigned round = 0; round < 10; ++round) {
    int told[2];
    REQUIRE(::pipe(told) == 0);
    const pid_t child = ::fork();
    if (child == 0) remember_for_ever(place.path(), round, told[1]);
    ::close(told[1]);
    std::string answered;
    char piece[64];
    while (answered.size() < 1 + round * 7) {
      const ssize_t got = ::read(told[0], piece, sizeof piece);
      REQUIRE(got > 0);
      answered.append(piece, static_cast<std::size_t>(got));
    }
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    ::close(told[0]);
    Journal journal(place.path());
    for (const char number : answered) CHECK(knows(journal, round * 100 + static_cast<unsigned char>(number)));
    for (unsigned before = 0; before < round; ++before) CHECK(knows(journal, before * 100));
  }
}
