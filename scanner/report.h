// What the scanner says of one message: findings -> report. "Not scanned" is never "clean".
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace scanner {

enum class Outcome : std::uint8_t { clean, suspicious, unscannable, error, infected };

// Why a message could not be scanned whole. One configuration key each (`defaults.unscannable.NAME`).
enum class Unscannable : std::uint8_t { none, encrypted, size, recursion, files, time, limit };
// Why there is no verdict. For logs, metrics and the text of the 451.
enum class Failure : std::uint8_t { none, not_ready, busy, crashed, killed, memory, engine, storage, disconnected };

std::string_view to_string(Outcome outcome);     // "clean", "infected", ...
std::string_view to_string(Unscannable reason);  // "encrypted", ...; none = ""
std::string_view to_string(Failure failure);     // "crashed", ...; none = ""

struct Finding {
  Outcome outcome = Outcome::error;
  Unscannable unscannable = Unscannable::none;  // with Outcome::unscannable
  Failure failure = Failure::none;              // with Outcome::error
  std::string engine;                           // the scanner's name in the config ("clamav"), at most 64 octets
  std::string name;  // signature or detail as the engine gave it, at most 256 octets, unescaped
  bool operator==(const Finding&) const = default;
};

struct Report {
  std::uint64_t id = 0;           // of the job
  std::uint32_t elapsed_us = 0;   // inside the worker
  std::vector<Finding> findings;  // at most 64
  // The gravest outcome: infected > error > unscannable > suspicious > clean; without findings clean.
  Outcome outcome() const;
  // The finding behind outcome(), nullptr when clean.
  const Finding* decisive() const;
  bool operator==(const Report&) const = default;
};

Report failed(std::uint64_t id, Failure failure, std::string_view detail);

std::string encode(const Report& report);
std::expected<Report, std::string_view> decode_report(std::string_view bytes);  // the error names what was wrong

}  // namespace scanner
