#include "test/playbooks/script.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace playbook {
namespace {

constexpr std::size_t longest_shown = 300;

void read_into(Script& script, const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw BadScript("cannot read " + file.string());
  std::size_t number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    if (text.empty() || text.starts_with('#')) continue;
    ScriptLine line;
    line.place = file.filename().string() + ":" + std::to_string(number);
    const std::size_t end = std::min(text.find(' '), text.size());
    line.head = text.substr(0, end);
    line.text = end == text.size() ? "" : text.substr(end + 1);
    if (line.head == "include") {
      const bool within_parts = file.extension() == ".part";
      const std::filesystem::path parts = within_parts ? file.parent_path() : file.parent_path() / "parts";
      read_into(script, parts / (line.text + ".part"));
    } else if (line.head == "once") {
      script.once = true;
    } else {
      if (line.head.starts_with('S')) script.scans = true;
      script.lines.push_back(std::move(line));
    }
  }
}

char escape_of(std::string_view& rest) {
  const char c = rest.empty() ? '\\' : rest.front();
  if (!rest.empty()) rest.remove_prefix(1);
  switch (c) {
    case 'r':
      return '\r';
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case '0':
      return '\0';
    case 'x': {
      if (rest.size() < 2) throw BadScript("\\x needs two digits");
      const std::string digits(rest.substr(0, 2));
      rest.remove_prefix(2);
      return static_cast<char>(std::strtoul(digits.c_str(), nullptr, 16));
    }
    default:
      return c;
  }
}

}  // namespace

Script read_script(const std::filesystem::path& file) {
  Script script;
  script.name = file.stem().string();
  read_into(script, file);
  return script;
}

std::vector<std::filesystem::path> script_files(const std::filesystem::path& folder) {
  const char* only = std::getenv("DIALOGUE");
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path& file = entry.path();
    if (file.extension() == ".smtp" && (only == nullptr || file.stem() == only)) files.push_back(file);
  }
  std::ranges::sort(files);
  return files;
}

std::vector<Script> read_scripts(const std::filesystem::path& folder) {
  std::vector<Script> scripts;
  for (const std::filesystem::path& file : script_files(folder)) scripts.push_back(read_script(file));
  return scripts;
}

std::string octets_of(std::string_view quoted) {
  if (quoted.size() < 2 || !quoted.starts_with('\'') || !quoted.ends_with('\''))
    throw BadScript("'...' expected, not " + std::string(quoted));
  quoted = quoted.substr(1, quoted.size() - 2);
  std::string octets;
  while (!quoted.empty()) {
    const char c = quoted.front();
    quoted.remove_prefix(1);
    octets += c == '\\' ? escape_of(quoted) : c;
  }
  return octets;
}

std::string visible(std::string_view octets) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char c : octets.substr(0, longest_shown)) {
    const auto octet = static_cast<unsigned char>(c);
    if (c == '\r') text += "\\r";
    else if (c == '\n') text += "\\n";
    else if (octet >= ' ' && octet < 0x7f) text += c;
    else text.append("\\x").append(1, digits[octet >> 4]).append(1, digits[octet & 15]);
  }
  if (octets.size() > longest_shown) text += "... (" + std::to_string(octets.size()) + " octets)";
  return text;
}

}  // namespace playbook
