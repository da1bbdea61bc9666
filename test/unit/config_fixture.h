// A machine made of fixed answers, and configs to try on it.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "config/build.h"

template <>
struct doctest::StringMaker<std::vector<std::string>> {
  static doctest::String convert(const std::vector<std::string>& lines) {
    std::string all;
    for (const std::string& line : lines) all += "\n  " + line;
    return all.c_str();
  }
};

namespace config_test {

// Root on a host where "mx.test" has one address, "two.test" two, and the default accounts exist; no file but /sig.
inline config::Surroundings machine() {
  config::Surroundings out;
  out.hostname = "host.test";
  out.root = true;
  out.own = {0, 0};
  out.resolve = [](const config::HostPort& where,
                   const std::string& text) -> std::expected<std::vector<config::Endpoint>, std::string> {
    std::vector<config::Endpoint> found;
    if (where.host == "mx.test" || where.host == "two.test")
      found.push_back(**config::parse_literal({"192.0.2.1", where.port, false}, text));
    if (where.host == "two.test") found.push_back(**config::parse_literal({"2001:db8::1", where.port, true}, text));
    if (found.empty()) return std::unexpected("no such name");
    return found;
  };
  out.account = [](const std::string& name) -> std::optional<config::Account> {
    if (name == "gatepost") return config::Account{901, 801};
    if (name == "gatepost-keeper") return config::Account{902, 802};
    if (name == "gatepost-scanner") return config::Account{903, 803};
    if (name == "gatepost-gate") return config::Account{904, 804};
    if (name == "toor") return config::Account{0, 0};
    return std::nullopt;
  };
  out.group_of = [](std::uint32_t uid) { return uid == 901 ? std::optional<std::uint32_t>(801) : std::nullopt; };
  out.exists = [](const std::string& path) { return path == "/sig"; };
  return out;
}

using Files = std::vector<config::Source>;

// The errors as an operator reads them; for a good config "ok", with its warnings behind it.
inline std::vector<std::string> outcome(const Files& files, const config::Surroundings& on = machine()) {
  std::vector<std::string> lines;
  const auto loaded = config::build(files, on);
  if (!loaded) {
    for (const config::Error& error : loaded.error()) lines.push_back(to_text(error));
    return lines;
  }
  lines.emplace_back("ok");
  lines.insert(lines.end(), loaded->warnings.begin(), loaded->warnings.end());
  return lines;
}
inline std::vector<std::string> outcome(const std::string& text) { return outcome(Files{{"f", text}}); }

inline std::string listener(const std::string& rest = "") {
  return R"({"name":"in","address":"127.0.0.1:25","downstream":"mta")" + rest + "}";
}
// A good config of one line with `rest` at its end: ,"key":value
inline std::string with(const std::string& rest) {
  return R"({"listeners":[)" + listener() + R"(],"downstreams":{"mta":{"servers":["127.0.0.1:26"]}},)" +
         R"("scanners":{"av":{"signatures":["/sig"]}})" + rest + "}";
}

}  // namespace config_test
