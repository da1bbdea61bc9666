// A directory of one test, removed after it.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

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
