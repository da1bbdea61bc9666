#include "scanner/report.h"

#include <algorithm>

#include "protocol/packet.h"

namespace scanner {
namespace {

constexpr std::uint8_t tag = 'R';
constexpr std::size_t max_findings = 64;
constexpr std::size_t max_engine = 64;
constexpr std::size_t max_name = 256;

std::string_view clipped(std::string_view text, std::size_t limit) { return text.substr(0, limit); }

std::expected<Finding, std::string_view> read_finding(protocol::PacketReader& reader) {
  const std::uint8_t outcome = reader.u8();
  const std::uint8_t reason = reader.u8();
  const std::uint8_t failure = reader.u8();
  const std::string_view engine = reader.text(max_engine);
  const std::string_view name = reader.text(max_name);
  if (!reader.ok()) return std::unexpected("report: a finding is cut or too long");
  if (outcome > static_cast<std::uint8_t>(Outcome::infected)) return std::unexpected("report: unknown outcome");
  if (reason > static_cast<std::uint8_t>(Unscannable::limit)) return std::unexpected("report: unknown reason");
  if (failure > static_cast<std::uint8_t>(Failure::disconnected)) return std::unexpected("report: unknown failure");
  return Finding{static_cast<Outcome>(outcome), static_cast<Unscannable>(reason), static_cast<Failure>(failure),
                 std::string(engine), std::string(name)};
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::clean:
      return "clean";
    case Outcome::suspicious:
      return "suspicious";
    case Outcome::unscannable:
      return "unscannable";
    case Outcome::error:
      return "error";
    case Outcome::infected:
      return "infected";
  }
  return "error";
}

std::string_view to_string(Unscannable reason) {
  switch (reason) {
    case Unscannable::none:
      return "";
    case Unscannable::encrypted:
      return "encrypted";
    case Unscannable::size:
      return "size";
    case Unscannable::recursion:
      return "recursion";
    case Unscannable::files:
      return "files";
    case Unscannable::time:
      return "time";
    case Unscannable::limit:
      return "limit";
  }
  return "limit";
}

std::string_view to_string(Failure failure) {
  switch (failure) {
    case Failure::none:
      return "";
    case Failure::not_ready:
      return "not_ready";
    case Failure::busy:
      return "busy";
    case Failure::crashed:
      return "crashed";
    case Failure::killed:
      return "killed";
    case Failure::memory:
      return "memory";
    case Failure::engine:
      return "engine";
    case Failure::storage:
      return "storage";
    case Failure::disconnected:
      return "disconnected";
  }
  return "engine";
}

const Finding* Report::decisive() const {
  const Finding* gravest = nullptr;
  for (const Finding& finding : findings)
    if (finding.outcome != Outcome::clean && (gravest == nullptr || finding.outcome > gravest->outcome))
      gravest = &finding;
  return gravest;
}

Outcome Report::outcome() const {
  const Finding* gravest = decisive();
  return gravest == nullptr ? Outcome::clean : gravest->outcome;
}

Report failed(std::uint64_t id, Failure failure, std::string_view detail) {
  Report report;
  report.id = id;
  report.findings.push_back({Outcome::error, Unscannable::none, failure, "", std::string(clipped(detail, max_name))});
  return report;
}

std::string encode(const Report& report) {
  // The gravest finding goes first, so that a report of too many findings cannot lose it.
  const Finding* gravest = report.findings.size() > max_findings ? report.decisive() : nullptr;
  const std::size_t count = std::min(report.findings.size(), max_findings);
  protocol::PacketWriter writer;
  writer.u8(tag).u64(report.id).u32(report.elapsed_us).u8(static_cast<std::uint8_t>(count));
  const auto write = [&writer](const Finding& finding) {
    writer.u8(static_cast<std::uint8_t>(finding.outcome))
        .u8(static_cast<std::uint8_t>(finding.unscannable))
        .u8(static_cast<std::uint8_t>(finding.failure))
        .text(clipped(finding.engine, max_engine))
        .text(clipped(finding.name, max_name));
  };
  std::size_t written = 0;
  if (gravest != nullptr) write(*gravest), ++written;
  for (const Finding& finding : report.findings) {
    if (written == count) break;
    if (&finding == gravest) continue;
    write(finding);
    ++written;
  }
  return writer.take();
}

std::expected<Report, std::string_view> decode_report(std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  if (reader.u8() != tag) return std::unexpected("not a report");
  Report report;
  report.id = reader.u64();
  report.elapsed_us = reader.u32();
  const std::uint8_t count = reader.u8();
  if (!reader.ok()) return std::unexpected("report: cut");
  if (count > max_findings) return std::unexpected("report: too many findings");
  report.findings.reserve(count);
  for (std::uint8_t i = 0; i < count; ++i) {
    auto finding = read_finding(reader);
    if (!finding) return std::unexpected(finding.error());
    report.findings.push_back(*std::move(finding));
  }
  if (!reader.complete()) return std::unexpected("report: octets left over");
  return report;
}

}  // namespace scanner
