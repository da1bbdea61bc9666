#include "scanner/test_hooks.h"

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

namespace scanner {
namespace {

constexpr std::string_view field = "\nX-Gatepost-Test: ";

std::string_view marker_of(std::string_view message) {
  const std::size_t at = message.find(field);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = message.substr(at + field.size());
  return rest.substr(0, rest.find_first_of("\r\n"));
}

void leave_files(const std::string& directory) {
  std::filesystem::create_directories(directory + "/left/behind");
  std::ofstream(directory + "/left/behind/file") << "part of a message";
}

[[noreturn]] void bloat() {
  constexpr std::size_t step = std::size_t{4} << 20;
  std::vector<std::unique_ptr<char[]>> held;
  for (;;) {
    held.push_back(std::make_unique_for_overwrite<char[]>(step));
    std::memset(held.back().get(), 1, step);
  }
}

}  // namespace

void act_on_marker(std::string_view message, const std::string& temporary_directory) {
  const std::string_view marker = marker_of(message);
  if (marker == "crash") {
    std::signal(SIGSEGV, SIG_DFL);  // a sanitizer would turn it into an exit
    std::raise(SIGSEGV);
  }
  if (marker == "abort") std::abort();
  if (marker == "exit") ::_exit(3);
  if (marker == "litter" || marker == "hang") leave_files(temporary_directory);
  if (marker == "bloat") bloat();
  while (marker == "hang") ::pause();
}

}  // namespace scanner
