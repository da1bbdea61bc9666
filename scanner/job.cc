#include "scanner/job.h"

#include "protocol/packet.h"

namespace scanner {
namespace {

constexpr std::uint8_t request_tag = 'Q';
constexpr std::uint8_t hello_tag = 'H';
constexpr std::uint8_t settings_tag = 'S';
constexpr std::size_t max_version = 256;
constexpr std::size_t max_path = 4096;
constexpr std::size_t max_paths = 15;  // of the longest kind they still fit into one packet
constexpr std::size_t max_name = 64;
constexpr std::size_t request_head = 1 + 1 + 8 + 4 + 8 + 4;
constexpr std::uint32_t max_prefix = 4096;
constexpr std::uint64_t max_size = std::uint64_t{1} << 62;

}  // namespace

std::string encode(const Request& request) {
  protocol::PacketWriter writer;
  writer.u8(request_tag).u8(static_cast<std::uint8_t>(request.kind)).u64(request.id);
  writer.u32(request.prefix).u64(request.size).u32(request.limit_ms);
  std::string packet = writer.take();
  packet += request.octets;
  return packet;
}

std::string encode_inline(const Request& request, std::string_view prefix, std::string_view content) {
  Request head = request;
  head.kind = Request::Kind::scan_inline;
  std::string packet = encode(head);
  packet.reserve(packet.size() + prefix.size() + content.size());
  packet += prefix;
  packet += content;
  return packet;
}

std::expected<Request, std::string_view> decode_request(std::string_view bytes) {
  const bool has_octets = bytes.size() > request_head;
  protocol::PacketReader reader(bytes.substr(0, request_head));
  if (reader.u8() != request_tag) return std::unexpected("not a request");
  const std::uint8_t kind = reader.u8();
  Request request;
  request.id = reader.u64();
  request.prefix = reader.u32();
  request.size = reader.u64();
  request.limit_ms = reader.u32();
  if (!reader.complete()) return std::unexpected("request: wrong length");
  if (kind > static_cast<std::uint8_t>(Request::Kind::scan_inline)) return std::unexpected("request: unknown kind");
  if (request.prefix > max_prefix) return std::unexpected("request: prefix too long");
  if (request.size > max_size) return std::unexpected("request: size out of range");
  request.kind = static_cast<Request::Kind>(kind);
  if (request.kind == Request::Kind::scan_inline) {
    request.octets = bytes.substr(request_head);
    if (request.octets.size() != request.prefix + request.size || request.octets.size() > max_inline)
      return std::unexpected("request: wrong number of octets");
  } else if (has_octets) {
    return std::unexpected("request: wrong length");
  }
  return request;
}

std::string encode(const Hello& hello) {
  protocol::PacketWriter writer;
  writer.u8(hello_tag).u64(hello.signatures).text(std::string_view(hello.version).substr(0, max_version));
  writer.u8(hello.test_signatures_only ? 1 : 0);
  return writer.take();
}

std::expected<Hello, std::string_view> decode_hello(std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  if (reader.u8() != hello_tag) return std::unexpected("not a hello");
  Hello hello;
  hello.signatures = reader.u64();
  hello.version = reader.text(max_version);
  const std::uint8_t test_only = reader.u8();
  if (!reader.complete()) return std::unexpected("hello: wrong length");
  if (test_only > 1) return std::unexpected("hello: a flag is neither 0 nor 1");
  hello.test_signatures_only = test_only == 1;
  return hello;
}

bool is_hello(std::string_view bytes) { return !bytes.empty() && static_cast<std::uint8_t>(bytes[0]) == hello_tag; }

std::string encode(const Settings& settings) {
  protocol::PacketWriter writer;
  writer.u8(settings_tag).text(settings.name).u32(static_cast<std::uint32_t>(settings.signatures.size()));
  for (const std::string& path : settings.signatures) writer.text(path);
  writer.u32(settings.workers).u32(settings.queue).u32(settings.scan_limit_ms).u64(settings.memory_limit);
  writer.u64(settings.max_scan_size).u64(settings.max_file_size).u32(settings.max_recursion).u32(settings.max_files);
  writer.text(settings.temporary_directory).u32(settings.uid).u32(settings.gid).u8(settings.test_hooks ? 1 : 0);
  return writer.take();
}

std::expected<Settings, std::string_view> decode_settings(std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  if (reader.u8() != settings_tag) return std::unexpected("not scanner settings");
  Settings settings;
  settings.name = reader.text(max_name);
  const std::uint32_t paths = reader.u32();
  if (paths > max_paths) return std::unexpected("settings: too many signature paths");
  for (std::uint32_t i = 0; i < paths && reader.ok(); ++i) settings.signatures.emplace_back(reader.text(max_path));
  settings.workers = reader.u32();
  settings.queue = reader.u32();
  settings.scan_limit_ms = reader.u32();
  settings.memory_limit = reader.u64();
  settings.max_scan_size = reader.u64();
  settings.max_file_size = reader.u64();
  settings.max_recursion = reader.u32();
  settings.max_files = reader.u32();
  settings.temporary_directory = reader.text(max_path);
  settings.uid = reader.u32();
  settings.gid = reader.u32();
  const std::uint8_t test_hooks = reader.u8();
  if (!reader.complete()) return std::unexpected("settings: wrong length");
  if (settings.workers < 1 || settings.workers > 256) return std::unexpected("settings: workers must be 1 to 256");
  if (settings.scan_limit_ms == 0) return std::unexpected("settings: scan limit must not be 0");
  if (test_hooks > 1) return std::unexpected("settings: a flag is neither 0 nor 1");
  settings.test_hooks = test_hooks == 1;
  return settings;
}

}  // namespace scanner
