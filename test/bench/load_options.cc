#include "test/bench/load_options.h"

#include <arpa/inet.h>
#include <sysexits.h>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string_view>

#include "test/bench/content.h"

namespace bench {
namespace {

[[noreturn]] void refuse(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::exit(EX_USAGE);
}

template <class Number>
Number number_of(std::string_view name, std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < Number{})
    refuse(std::string(name) + ": not a number: " + std::string(text));
  return value;
}

std::size_t octets_of(std::string_view name, std::string_view text) {
  std::size_t unit = 1;
  if (text.ends_with('K')) unit = std::size_t{1} << 10;
  if (text.ends_with('M')) unit = std::size_t{1} << 20;
  if (unit > 1) text.remove_suffix(1);
  const auto value = number_of<std::size_t>(name, text);
  if (value > (std::size_t{1} << 40) / unit) refuse(std::string(name) + ": too large");
  return value * unit;
}

in_addr host_of(std::string_view name, std::string_view text) {
  in_addr host{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &host) != 1)
    refuse(std::string(name) + ": not an IPv4 address: " + std::string(text));
  return host;
}

sockaddr_in address_of(std::string_view name, std::string_view text) {
  const auto colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string_view::npos)
    refuse(std::string(name) + ": not an IPv4 address and port: " + std::string(text));
  address.sin_addr = host_of(name, text.substr(0, colon));
  address.sin_port = htons(number_of<std::uint16_t>(name, text.substr(colon + 1)));
  return address;
}

void check(const LoadOptions& options) {
  if (options.connections == 0) refuse("--connections: at least 1");
  if (options.corpus.empty() && options.size < smallest_content)
    refuse("--size: at least " + std::to_string(smallest_content) + " octets");
  if (options.per_command && options.pipelining) refuse("--per-command: not with --pipelining");
  if (options.sources == 0 || options.sources > 200) refuse("--sources: 1 to 200");
  if (options.hold_before_dot && options.messages > options.connections)
    refuse("--hold-before-dot: one connection per message is needed (--connections >= --messages)");
  if (options.rate > 100'000) refuse("--rate: at most 100000");
}

}  // namespace

LoadOptions parse_options(int argc, char** argv, const char* usage) {
  LoadOptions options;
  using Text = std::string_view;
  const std::map<Text, bool*> switches = {
      {"--reuse", &options.reuse},           {"--tls", &options.tls},
      {"--tls-resume", &options.tls_resume}, {"--per-command", &options.per_command},
      {"--pipelining", &options.pipelining}, {"--hold-before-dot", &options.hold_before_dot}};
  const std::map<Text, std::function<void(Text, Text)>> values = {
      {"--to", [&](Text n, Text t) { options.to = address_of(n, t); }},
      {"--connections", [&](Text n, Text t) { options.connections = number_of<std::size_t>(n, t); }},
      {"--messages", [&](Text n, Text t) { options.messages = number_of<std::uint64_t>(n, t); }},
      {"--size", [&](Text n, Text t) { options.size = octets_of(n, t); }},
      {"--corpus", [&](Text, Text t) { options.corpus = t; }},
      {"--seed", [&](Text n, Text t) { options.seed = number_of<std::uint64_t>(n, t); }},
      {"--rate", [&](Text n, Text t) { options.rate = number_of<double>(n, t); }},
      {"--idle", [&](Text n, Text t) { options.idle = number_of<std::size_t>(n, t); }},
      {"--from", [&](Text n, Text t) { options.from = host_of(n, t); }},
      {"--sources", [&](Text n, Text t) { options.sources = number_of<unsigned>(n, t); }},
      {"--stall", [&](Text n, Text t) { options.stall = std::chrono::seconds(number_of<unsigned>(n, t)); }},
      {"--signatures", [&](Text, Text t) { options.signatures.emplace_back(t); }},
      {"--temporary", [&](Text, Text t) { options.temporary = t; }}};
  for (int i = 1; i < argc; ++i) {
    const Text name = argv[i];
    if (name == "--help") {
      std::fputs(usage, stdout);
      std::exit(EX_OK);
    }
    if (const auto found = switches.find(name); found != switches.end()) {
      *found->second = true;
    } else if (const auto setter = values.find(name); setter != values.end() && i + 1 < argc) {
      setter->second(name, argv[++i]);
    } else {
      refuse("unknown option or missing value: " + std::string(name) + " (see --help)");
    }
  }
  check(options);
  if (options.from.s_addr == 0 && ntohl(options.to.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
    options.from.s_addr = htonl(INADDR_LOOPBACK);
  return options;
}

}  // namespace bench
