// Config files: whatever stands in them, every error has a place inside its file, and what is accepted shows itself as
// a config that is accepted and shows the same. A line "---" parts the files of conf.d.
#include <algorithm>
#include <string>
#include <vector>

#include "config/build.h"
#include "config/document.h"
#include "split.h"

namespace {

// No network: one name is known, with two addresses.
config::Surroundings machine() {
  config::Surroundings out;
  out.hostname = "host.test";
  out.own = {1000, 1000};
  out.resolve = [](const config::HostPort& where,
                   const std::string& text) -> std::expected<std::vector<config::Endpoint>, std::string> {
    if (where.host != "mx.test") return std::unexpected("no such name");
    return std::vector{**config::parse_literal({"192.0.2.1", where.port, false}, text),
                       **config::parse_literal({"2001:db8::1", where.port, true}, text)};
  };
  out.account = [](const std::string&) { return std::optional<config::Account>{}; };
  out.group_of = [](std::uint32_t) { return std::optional<std::uint32_t>{}; };
  out.exists = [](const std::string&) { return true; };
  return out;
}

std::vector<config::Source> sources_of(std::string_view input) {
  constexpr std::string_view border = "\n---\n";
  std::vector<config::Source> sources;
  while (true) {
    const std::size_t end = input.find(border);
    sources.push_back({"f" + std::to_string(sources.size()), std::string(input.substr(0, end))});
    if (end == std::string_view::npos) return sources;
    input.remove_prefix(end + border.size());
  }
}

bool stands_in(const config::Error& error, const std::string& text) {
  std::string_view rest = text;
  for (std::size_t line = 1; line < error.line; ++line) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) return false;
    rest.remove_prefix(end + 1);
  }
  return error.column >= 1 && error.column <= std::min(rest.find('\n'), rest.size()) + 1;
}

void check_error(const config::Error& error, const std::vector<config::Source>& sources) {
  for (const char c : to_text(error)) PROPERTY(static_cast<unsigned char>(c) >= 0x20);
  PROPERTY(error.pointer.empty() || error.pointer.front() == '/');
  PROPERTY(!error.text.empty());
  if (error.line == 0) return;
  const auto named = [&](const config::Source& source) { return source.name == error.file; };
  const auto source = std::find_if(sources.begin(), sources.end(), named);
  PROPERTY(source != sources.end());
  PROPERTY(stands_in(error, source->text));
}

void check_document(const std::string& text) {
  config::Problems problems({"f"});
  const auto node = config::parse(text, 0, problems);
  PROPERTY(node || problems.any());
  if (!node) return;
  const std::string formatted = format(*node);
  const auto again = config::parse(formatted, 0, problems);
  PROPERTY(again);
  PROPERTY(format(*again) == formatted);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::vector<config::Source> sources = sources_of(fuzz::text_of(octets, size));
  for (const config::Source& source : sources) check_document(source.text);
  const config::Surroundings on = machine();
  const auto loaded = config::build(sources, on);
  if (!loaded) {
    PROPERTY(!loaded.error().empty());
    for (const config::Error& error : loaded.error()) check_error(error, sources);
    return 0;
  }
  const std::string shown = show(*loaded->config);
  const auto again = config::build({{"shown", shown}}, on);
  PROPERTY(again);
  PROPERTY(show(*again->config) == shown);
  return 0;
}
