// Files -> Config. All errors at once, each with file, line, column, JSON pointer and the nearest known name.
#pragma once

#include <expected>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace config {

struct Error {
  std::string file;
  std::size_t line = 0;    // 1-based; 0 = no position
  std::size_t column = 0;  // 1-based, in octets
  std::string pointer;     // JSON pointer (RFC 6901)
  std::string text;        // what is wrong and what to do
};
std::string to_text(const Error& error);  // FILE:LINE:COLUMN: /pointer: text

struct Surroundings;

struct Loaded {
  std::shared_ptr<const Config> config;
  std::vector<std::string> warnings;  // shown at start and by check: nothing is scanned, not root, ...
};

// `path` and, beside it, conf.d/*.json in name order. Names of servers stay names; reads nothing else.
std::expected<Loaded, std::vector<Error>> load_file(const std::string& path, const Surroundings& machine);
std::expected<Loaded, std::vector<Error>> load_file(const std::string& path);  // on this machine, without its keys
// For tests and the embedded defaults: `name` stands for the file in messages.
std::expected<Loaded, std::vector<Error>> load_text(std::string_view text, const std::string& name);

// What the program runs with, defaults filled in, as a document that load_text would take again.
std::string show(const Config& config);
// JSON Schema (draft 2020-12) of the file, and the manual's table of keys (mdoc list items), from the same table.
std::string schema();
std::string manual();

}  // namespace config
