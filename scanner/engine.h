// libclamav: signatures loaded once, then one message at a time. engine.cc is the only file that includes clamav.h.
//
// libclamav alone says "clean" in many cases where it has not scanned. What this class adds (all tested):
// - limits and encryption alert, and every alert of a message is found (all-match), so that a virus wins over them and
//   no alert hides behind another one;
// - a file that is longer than max_file_size is `unscannable(size)` even where libclamav cuts it and scans the rest
//   (ZIP members);
// - a failed temporary file or a failed allocation is an error (io_trouble.h);
// - every return code that is neither clean nor virus is an error or a limit.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scanner/job.h"
#include "scanner/report.h"

struct cl_engine;

namespace scanner {

class Engine {
 public:
  // Loads settings.signatures. The error is one sentence with the path and the next step.
  static std::expected<Engine, std::string> load(const Settings& settings);

  const Hello& hello() const { return hello_; }

  // Where libclamav makes its temporary files from now on. false = out of memory.
  bool use_temporary_directory(const std::string& directory);

  // Scans one message (prefix, and content no longer than file_size_limit) and appends what was found; nothing appended
  // = clean. `limit_ms` is when the caller's patience ends; libclamav is told to stop a little earlier.
  void scan(std::string_view message, std::uint32_t limit_ms, std::vector<Finding>& findings);

 private:
  struct Free {
    void operator()(cl_engine* engine) const;
  };

  Engine() = default;
  std::expected<void, std::string> load_path(const std::string& path);
  void apply_limits(const Settings& settings);

  std::unique_ptr<cl_engine, Free> engine_;
  Hello hello_;
  std::string name_;
  std::uint64_t max_file_size_ = 0;
  std::uint32_t scan_time_ms_ = 0;
};

}  // namespace scanner
