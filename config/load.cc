#include "config/load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "config/build.h"

namespace config {
namespace {

constexpr std::size_t largest_file = 4U << 20U;

std::unexpected<std::vector<Error>> cannot_read(const std::string& path, std::string_view why) {
  return std::unexpected(std::vector{Error{path, 0, 0, "", fmt::format("cannot read: {}", why)}});
}

std::expected<Source, std::vector<Error>> read_source(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (file < 0) return cannot_read(path, std::strerror(errno));
  Source source{path, {}};
  std::array<char, 65536> piece{};
  ssize_t size = 0;
  int failure = 0;
  do {
    size = read(file, piece.data(), piece.size());
    failure = size < 0 ? errno : 0;
    if (size > 0) source.text.append(piece.data(), static_cast<std::size_t>(size));
  } while ((size > 0 && source.text.size() <= largest_file) || failure == EINTR);
  close(file);
  if (failure != 0) return cannot_read(path, std::strerror(failure));
  if (source.text.size() > largest_file) return cannot_read(path, "larger than 4 MiB, so this is no config");
  return source;
}

// conf.d/*.json beside `path`, as a shell would list them in the C locale: sorted by octets, no hidden files.
std::expected<std::vector<std::string>, std::vector<Error>> further_files(const std::string& path) {
  const std::filesystem::path directory = std::filesystem::path(path).parent_path() / "conf.d";
  std::error_code failure;
  std::filesystem::directory_iterator entry(directory, failure);
  if (failure == std::errc::no_such_file_or_directory) return {};
  std::vector<std::string> names;
  while (!failure && entry != std::filesystem::directory_iterator()) {
    const std::string name = entry->path().filename();
    if (!name.starts_with('.') && name.ends_with(".json")) names.push_back(entry->path());
    entry.increment(failure);
  }
  if (failure) return cannot_read(directory, failure.message());
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::expected<Loaded, std::vector<Error>> load_file(const std::string& path, const Surroundings& machine) {
  auto names = further_files(path);
  if (!names) return std::unexpected(names.error());
  names->insert(names->begin(), path);
  std::vector<Source> sources;
  std::vector<Error> errors;
  for (const std::string& name : *names) {
    auto source = read_source(name);
    if (source) sources.push_back(std::move(*source));
    else errors.insert(errors.end(), source.error().begin(), source.error().end());
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return build(sources, machine);
}

std::expected<Loaded, std::vector<Error>> load_file(const std::string& path) { return load_file(path, this_machine()); }

std::expected<Loaded, std::vector<Error>> load_text(std::string_view text, const std::string& name) {
  return build({{name, std::string(text)}}, this_machine());
}

}  // namespace config
