// Dialogue files as values: lines with their place, includes resolved. README.md in test/dialogues describes the
// language.
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace playbook {

// A dialogue file that cannot be understood.
struct BadScript : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ScriptLine {
  std::string place;  // "plain.smtp:12"
  std::string head;   // "C>", "D2<~", "set", "S="
  std::string text;   // the rest, without the blank in front
};

struct Script {
  std::string name;
  std::vector<ScriptLine> lines;
  bool once = false;   // the outcome depends on how bytes are cut: not run again octet by octet
  bool scans = false;  // a scanner is configured: some line begins with S
};

Script read_script(const std::filesystem::path& file);
// All *.smtp of a folder by name; with DIALOGUE in the environment that one alone.
std::vector<std::filesystem::path> script_files(const std::filesystem::path& folder);
std::vector<Script> read_scripts(const std::filesystem::path& folder);

// 'text with \r \n \t \0 \xHH \\ \'' -> octets.
std::string octets_of(std::string_view quoted);
// For transcripts: what cannot be seen as \xHH and the like, cut where it is very long.
std::string visible(std::string_view octets);

}  // namespace playbook
