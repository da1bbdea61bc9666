// What a client can be banned for: the events that a listener counts, and from how many of them on.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace config {

enum class Offence : std::uint8_t { infected, early_talk, errors, auth_failures, rate };
inline constexpr std::size_t number_of_offences = 5;

// `after` of them within that time; the ban is for `time`, 0 = nobody is banned for it.
struct BanRule {
  std::uint32_t after = 1;
  std::chrono::milliseconds within{600'000};
  std::chrono::milliseconds time{0};
  bool operator==(const BanRule&) const = default;
};

struct ListenerBans {
  BanRule infected{.after = 1};
  BanRule early_talk{.after = 3};
  BanRule errors{.after = 3};
  BanRule auth_failures{.after = 10};
  BanRule rate{.after = 10};
  const BanRule& rule_for(Offence offence) const;
  bool any() const;  // somebody may be banned
};

std::string_view to_string(Offence offence);  // the key of its rule
std::optional<Offence> offence_named(std::string_view word);

}  // namespace config
