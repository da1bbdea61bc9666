// A directory of one test, removed after it, and what the keeper is asked to do there.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/keeper/commit.h"

class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatepost-unit.XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string path(const std::string& below) const { return path_ + "/" + below; }
  // Names in a directory below; empty when there is none.
  std::set<std::string> names(const std::string& below) const {
    std::set<std::string> out;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(path(below), none))
      out.insert(entry.path().filename().string());
    return out;
  }
  std::string content(const std::string& below) const {
    std::ifstream file(path(below), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string path_;
};

extern std::function<void()> when_synced;  // called in each fsync of the unit tests (keeper_commit_test.cc)

// Jobs for the keeper.
inline constexpr std::string_view prefix = "synthetic\r\n";

inline scanner::OwnedFd in_memory(const std::string& octets) {
  scanner::OwnedFd file(::memfd_create("content", MFD_CLOEXEC));
  REQUIRE(::write(file.get(), octets.data(), octets.size()) == static_cast<ssize_t>(octets.size()));
  return file;
}

inline keeper::Request request_for(const Directory& place, const std::vector<std::string>& locals, std::uint64_t size) {
  keeper::Request request;
  request.id = 7;
  request.path = place.path("%domain/%local");
  request.create = true;
  request.return_path = "sender@example.net";
  request.received = "Received: from c ([192.0.2.1])\r\n\tby mx with ESMTP id q1.1";
  request.prefix = prefix.size();
  request.size = size;
  for (const std::string& local : locals) request.recipients.push_back({local, "Example.org", local + "@Example.org"});
  return request;
}

inline keeper::Job job(const Directory& place, const std::vector<std::string>& locals, const std::string& content) {
  return {request_for(place, locals, content.size()), in_memory(std::string(prefix) + content)};
}
