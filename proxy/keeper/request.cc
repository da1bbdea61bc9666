#include "proxy/keeper/request.h"

#include "protocol/packet.h"

namespace keeper {
namespace {

constexpr std::size_t max_recipients = 100;
constexpr std::size_t max_name = 1024;  // a local part or domain, long before it is refused as a file name
constexpr std::size_t max_pattern = 4096;

// Which message it is, so that an Answer is never taken for a Request.
constexpr std::uint8_t request_tag = 'Q';
constexpr std::uint8_t answer_tag = 'A';

void put(protocol::PacketWriter& writer, const Recipient& recipient) {
  writer.text(recipient.local_part).text(recipient.domain).text(recipient.forward_path);
}

Recipient recipient(protocol::PacketReader& reader) {
  Recipient value;
  value.local_part = reader.text(max_name);
  value.domain = reader.text(max_name);
  value.forward_path = reader.text(2 * max_name);
  return value;
}

}  // namespace

std::string encode(const Request& request) {
  if (request.recipients.size() > max_recipients) return {};
  protocol::PacketWriter writer;
  writer.u8(request_tag).u8(static_cast<std::uint8_t>(request.kind)).u64(request.id);
  writer.text(request.path).u8(request.create ? 1 : 0);
  writer.text(request.return_path).text(request.received).text(request.extra_fields);
  writer.u32(request.prefix).u64(request.size).u32(static_cast<std::uint32_t>(request.recipients.size()));
  for (const Recipient& one : request.recipients) put(writer, one);
  writer.text(request.keys);
  return writer.bytes().size() > protocol::max_packet ? std::string{} : writer.take();
}

std::expected<Request, std::string_view> decode_request(std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  if (reader.u8() != request_tag) return std::unexpected("not a request");
  Request request;
  const std::uint8_t kind = reader.u8();
  if (kind < static_cast<std::uint8_t>(Request::Kind::lookup) ||
      kind > static_cast<std::uint8_t>(Request::Kind::forget))
    return std::unexpected("unknown kind of request");
  request.kind = Request::Kind{kind};
  request.id = reader.u64();
  request.path = reader.text(max_pattern);
  const std::uint8_t create = reader.u8();
  request.create = create == 1;
  request.return_path = reader.text(2 * max_name);
  request.received = reader.text();
  request.extra_fields = reader.text();
  request.prefix = reader.u32();
  request.size = reader.u64();
  const std::uint32_t count = reader.u32();
  if (!reader.ok() || create > 1) return std::unexpected("malformed request");
  if (request.of_journal() ? count != 0 : count == 0 || count > max_recipients)
    return std::unexpected("wrong number of recipients");
  if (request.kind == Request::Kind::lookup && count != 1) return std::unexpected("lookup of several recipients");
  request.recipients.reserve(count);
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) request.recipients.push_back(recipient(reader));
  request.keys = reader.text(max_keys * key_octets);
  if (request.keys.size() % key_octets != 0 || request.keys.empty() == request.of_journal())
    return std::unexpected("wrong number of keys");
  if (!reader.complete()) return std::unexpected("malformed request");
  return request;
}

std::string encode(const Answer& answer) {
  protocol::PacketWriter writer;
  writer.u8(answer_tag).u8(static_cast<std::uint8_t>(answer.status)).u64(answer.id);
  writer.text(std::string_view(answer.detail).substr(0, max_name)).text(answer.known);
  return writer.take();
}

std::expected<Answer, std::string_view> decode_answer(std::string_view bytes) {
  protocol::PacketReader reader(bytes);
  if (reader.u8() != answer_tag) return std::unexpected("not an answer");
  Answer answer;
  const std::uint8_t status = reader.u8();
  if (status < static_cast<std::uint8_t>(Answer::Status::kept) ||
      status > static_cast<std::uint8_t>(Answer::Status::failed))
    return std::unexpected("unknown status");
  answer.status = Answer::Status{status};
  answer.id = reader.u64();
  answer.detail = reader.text(max_name);
  answer.known = reader.text(max_keys);
  if (!reader.complete()) return std::unexpected("malformed answer");
  return answer;
}

}  // namespace keeper
