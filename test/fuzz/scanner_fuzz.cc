// Requests, reports, hellos and settings: whatever decodes is in range, encodes again and decodes to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "scanner/job.h"
#include "scanner/report.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void try_report(std::string_view bytes) {
  const auto report = scanner::decode_report(bytes);
  if (!report) return require(!report.error().empty());
  require(report->findings.size() <= 64);
  for (const scanner::Finding& finding : report->findings) {
    require(finding.engine.size() <= 64 && finding.name.size() <= 256);
    require(!to_string(finding.outcome).empty());
    require(finding.outcome <= report->outcome());
  }
  require(scanner::encode(*report) == bytes);
}

void try_request(std::string_view bytes) {
  const auto request = scanner::decode_request(bytes);
  if (!request) return require(!request.error().empty());
  require(request->size + request->prefix >= request->size);
  require(scanner::encode(*request) == bytes);
}

void try_hello(std::string_view bytes) {
  const auto hello = scanner::decode_hello(bytes);
  if (!hello) return;
  require(scanner::is_hello(bytes) && scanner::encode(*hello) == bytes);
}

void try_settings(std::string_view bytes) {
  const auto settings = scanner::decode_settings(bytes);
  if (!settings) return;
  require(settings->workers >= 1 && settings->workers <= 256);
  require(scanner::encode(*settings) == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(octets), size);
  try_report(bytes);
  try_request(bytes);
  try_hello(bytes);
  try_settings(bytes);
  return 0;
}
