#include "scanner/alert.h"

#include <array>
#include <string>
#include <utility>

namespace scanner {
namespace {

constexpr std::string_view limits = "Heuristics.Limits.Exceeded";

Unscannable limit_of(std::string_view alert) {
  static constexpr std::array<std::pair<std::string_view, Unscannable>, 5> reasons{{
      {".MaxRecursion", Unscannable::recursion},
      {".MaxFileSize", Unscannable::size},
      {".MaxScanSize", Unscannable::size},
      {".MaxFiles", Unscannable::files},
      {".MaxScanTime", Unscannable::time},
  }};
  for (const auto& [suffix, reason] : reasons)
    if (alert.substr(limits.size()).starts_with(suffix)) return reason;
  return Unscannable::limit;
}

}  // namespace

Finding finding_of(std::string_view engine, std::string_view alert) {
  Finding finding{Outcome::infected, Unscannable::none, Failure::none, std::string(engine), std::string(alert)};
  if (alert.starts_with("Heuristics.Encrypted")) {
    finding.outcome = Outcome::unscannable;
    finding.unscannable = Unscannable::encrypted;
  } else if (alert.starts_with(limits)) {
    finding.outcome = Outcome::unscannable;
    finding.unscannable = limit_of(alert);
  } else if (alert.starts_with("Heuristics.") || alert.starts_with("BC.Heuristics.") || alert.starts_with("PUA.")) {
    finding.outcome = Outcome::suspicious;
  }
  return finding;
}

}  // namespace scanner
