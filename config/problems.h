// Everything that is wrong with a config, collected while it is read, and where each value stood.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace config {

struct Place {
  std::uint32_t file = 0;    // index into the list of files
  std::uint32_t line = 0;    // 1-based; 0 = none
  std::uint32_t column = 0;  // 1-based, in octets
};

// Two JSON pointers (RFC 6901) to one value: in the merged document, and in the file that it came from. They differ
// where arrays of several files were appended to each other; only the second one is shown.
struct Path {
  std::string merged, own;
  Path member(std::string_view key) const;
  Path element(std::size_t merged_index, std::size_t own_index) const;
};
// ~ as ~0 and / as ~1.
std::string escape_pointer(std::string_view key);

class Problems {
 public:
  explicit Problems(std::vector<std::string> files) : files_(std::move(files)) {}

  void note(const Path& path, const Place& place) { spots_[path.merged] = {place, path.own}; }
  bool given(const std::string& merged) const { return spots_.contains(merged); }

  // At a place that is known, for a pointer of the file itself.
  void error(const Place& place, const std::string& own, std::string text);
  // At the value of this pointer of the merged document or, where it is not given, at the nearest object around it.
  void error(const std::string& merged, std::string text);
  void warning(const std::string& merged, std::string text);
  void warning(std::string text) { warnings_.push_back(std::move(text)); }

  // Whether an error stands at this pointer or below it: what it holds is a default then, not worth a second error.
  bool failed(const std::string& merged) const;
  bool any() const { return count_ > 0; }
  std::string where(const Place& place) const;  // FILE:LINE:COLUMN

  // In the order of the files; past the first thousand only their number.
  std::vector<Error> errors() const;
  std::vector<std::string> warnings() const { return warnings_; }

 private:
  struct Spot {
    Place place;
    std::string own;
  };
  struct Found {
    Place place;
    Error error;
  };
  Spot spot_of(const std::string& merged) const;
  Error make(const Spot& spot, std::string text) const;
  void keep(const Spot& spot, std::string text);

  std::vector<std::string> files_;
  std::map<std::string, Spot> spots_;
  std::set<std::string> failed_;
  std::vector<Found> found_;
  std::vector<std::string> warnings_;
  std::size_t count_ = 0;
};

}  // namespace config
