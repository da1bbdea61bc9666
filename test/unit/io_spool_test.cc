#include <doctest/doctest.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <expected>
#include <filesystem>
#include <optional>
#include <random>
#include <string>

#include "proxy/io/spool.h"
#include "test/playbooks/fakes.h"

namespace {

bool no_memory_for_hashing = false;

}  // namespace

// In front of the library's own.
extern "C" XXH3_state_t* XXH3_createState() {
  using Create = XXH3_state_t* (*)();
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "XXH3_createState"));
  return no_memory_for_hashing ? nullptr : create();
}

namespace {

using io::Spool;
using io::SpoolError;
using io::SpoolSpace;
using playbook::content_of;

const std::string directory = std::filesystem::temp_directory_path().string();
constexpr std::string_view prefix = "Received: first\r\n";

std::string some_content(std::size_t size) {
  std::mt19937 random(static_cast<unsigned>(size));
  std::string content(size, '\0');
  for (char& c : content) c = static_cast<char>(random());
  return content;
}

// In pieces of random sizes up to `largest`.
std::expected<void, SpoolError> fill(Spool& spool, std::string_view content, std::size_t largest) {
  std::mt19937 random(3);
  while (!content.empty()) {
    const std::size_t size = std::min<std::size_t>(content.size(), 1 + random() % largest);
    spool.pending().append(content.substr(0, size));
    content.remove_prefix(size);
    if (auto stored = spool.commit(); !stored) return stored;
  }
  return spool.finish();
}

TEST_CASE("content comes back whole, from memory and from a file, with the prefix in front in every descriptor") {
  struct Case {
    std::size_t size;
    std::uint64_t memory;
    bool in_memory;
  };
  // Around the limit, around the size of one write, and empty.
  const Case cases[] = {{0, 1000, true},    {1000, 1000, true}, {1001, 1000, false},    {65535, 10, false},
                        {65536, 10, false}, {65537, 10, false}, {1'000'000, 10, false}, {1'000'000, 2'000'000, true}};
  for (const Case& c : cases) {
    CAPTURE(c.size);
    SpoolSpace space(directory, c.memory, 100'000'000, std::string(prefix));
    const std::string content = some_content(c.size);
    {
      Spool spool(space);
      REQUIRE(fill(spool, content, 5000).has_value());
      CHECK(spool.size() == c.size);
      CHECK(spool.in_memory() == c.in_memory);
      CHECK(spool.prefix_size() == prefix.size());
      if (c.in_memory) CHECK(spool.memory() == content);
      else CHECK(content_of(spool.file(), spool.file_offset()) == content);
      const auto shared = spool.shared_descriptor();
      REQUIRE(shared.has_value());
      CHECK(content_of(*shared, 0) == std::string(prefix) + content);
      CHECK(spool.shared_descriptor() == shared);  // made once
    }
    CHECK(space.memory_used() == 0);
  }
}

TEST_CASE("the hash is that of the content, however it was cut and wherever it lies") {
  const std::string content = some_content(300'000);
  std::optional<std::array<std::uint64_t, 2>> first;
  for (const std::uint64_t memory : {10u, 100'000u, 1'000'000u})
    for (const std::size_t largest : {100u, 70'000u, 300'000u}) {
      SpoolSpace space(directory, memory, 100'000'000, std::string(prefix));
      Spool spool(space);
      REQUIRE(fill(spool, content, largest).has_value());
      if (!first) first = spool.hash();
      CHECK(spool.hash() == *first);
    }
  SpoolSpace space(directory, 1'000'000, 100'000'000, std::string(prefix));
  Spool other(space);
  REQUIRE(fill(other, content + "x", 5000).has_value());
  CHECK(other.hash() != *first);
}

TEST_CASE("whoever is given a descriptor cannot change the content") {
  for (const std::uint64_t memory : {10u, 1'000'000u}) {
    CAPTURE(memory);
    SpoolSpace space(directory, memory, 100'000'000, std::string(prefix));
    Spool spool(space);
    REQUIRE(fill(spool, "some content", 100).has_value());
    const auto shared = spool.shared_descriptor();
    REQUIRE(shared.has_value());
    CHECK(::pwrite(*shared, "X", 1, 0) == -1);
    CHECK(::ftruncate(*shared, 0) == -1);
    CHECK(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, *shared, 0) == MAP_FAILED);
    CHECK((::fcntl(*shared, F_GETFD) & FD_CLOEXEC) != 0);
    if (spool.in_memory()) {
      const int seals = ::fcntl(*shared, F_GET_SEALS);
      CHECK(seals == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL));
    } else {
      CHECK((::fcntl(*shared, F_GETFL) & O_ACCMODE) == O_RDONLY);
    }
    CHECK(content_of(*shared, prefix.size()) == "some content");
  }
}

TEST_CASE("past the total of all messages new ones lie on disk") {
  SpoolSpace space(directory, 100'000, 150'000, std::string(prefix));
  Spool first(space), second(space);
  const std::string content = some_content(90'000);
  REQUIRE(fill(first, content, 90'000).has_value());
  REQUIRE(fill(second, content, 90'000).has_value());
  CHECK(first.in_memory());
  CHECK_FALSE(second.in_memory());
  CHECK(space.memory_used() < 150'000);
  CHECK(second.hash() == first.hash());
}

TEST_CASE("a directory that is not there is `failed`") {
  SpoolSpace space("/nonexistent/spool", 10, 100'000, std::string(prefix));
  Spool spool(space);
  const auto stored = fill(spool, "more than ten octets", 100);
  REQUIRE_FALSE(stored.has_value());
  CHECK(stored.error() == SpoolError::failed);
}

// Runs in a mount namespace of its own. 0 = as it should be.
int spool_on_tiny_filesystem(const char* place) {
  if (::unshare(CLONE_NEWNS) != 0) return 10;
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 11;
  if (::mount("tmpfs", place, "tmpfs", 0, "size=128k") != 0) return 12;
  SpoolSpace space(place, 10, 100'000'000, std::string(prefix));
  {
    Spool spool(space);
    const auto stored = fill(spool, some_content(1'000'000), 10'000);
    if (stored || stored.error() != SpoolError::full) return 1;
  }
  Spool again(space);  // the space is free again
  return fill(again, some_content(50'000), 10'000).has_value() ? 0 : 2;
}

TEST_CASE("a full disk is `full`, and its space comes back") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: needs root to mount a tiny tmpfs");
    return;
  }
  std::string place = directory + "/gatepost-spool-XXXXXX";
  REQUIRE(::mkdtemp(place.data()) != nullptr);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(spool_on_tiny_filesystem(place.c_str()));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::rmdir(place.c_str());
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("no memory for the hash is a failure, not a crash") {
  SpoolSpace space(directory, 1000, 1'000'000, std::string(prefix));
  Spool spool(space);
  no_memory_for_hashing = true;
  const auto stored = fill(spool, some_content(100'000), 10'000);
  no_memory_for_hashing = false;
  REQUIRE_FALSE(stored);
  CHECK(stored.error() == SpoolError::failed);
}

}  // namespace
