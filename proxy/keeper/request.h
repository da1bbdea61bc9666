// The contract between proxy and keeper: jobs, some with a content descriptor, in, one answer out (SOCK_SEQPACKET, at most
// 64 KiB each). The keeper answers in any order; an answer of `kept` means durable: file and directory are fsynced.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace keeper {

struct Recipient {
  std::string local_part;
  std::string domain;
  std::string forward_path;  // as formatted for Delivered-To, without brackets
  bool operator==(const Recipient&) const = default;
};

struct Request {
  // lookup: does the mailbox of the (single) recipient exist, or may it be made? deliver: one copy per recipient, all
  // or none. Of the journal (journal.h), with `keys` and nothing else: recall: which of them are known? remember: keep
  // them; forget: they will not be asked for again.
  enum class Kind : std::uint8_t { lookup = 1, deliver = 2, recall = 3, remember = 4, forget = 5 } kind = Kind::deliver;
  std::uint64_t id = 0;
  std::string path;         // maildir pattern, may hold %local and %domain
  bool create = false;      // make missing mailboxes
  std::string return_path;  // without brackets; empty = <>
  std::string received;     // complete Received field up to and without its `for` clause and date: the keeper adds both
  std::string extra_fields;  // canonical header lines to stand on top ("X-Gatepost-Verdict: ...\r\n"), or empty
  std::uint32_t prefix = 0;  // octets of the descriptor before the content
  std::uint64_t size = 0;    // octets of content
  std::vector<Recipient> recipients;  // at most 100
  std::string keys;                   // 32 octets each, at most 1,000
  bool of_journal() const { return kind != Kind::lookup && kind != Kind::deliver; }
  bool operator==(const Request&) const = default;
};
inline constexpr std::size_t key_octets = 32, max_keys = 1000;
std::string encode(const Request& request);  // empty when it does not fit in one message
std::expected<Request, std::string_view> decode_request(std::string_view bytes);

struct Answer {
  enum class Status : std::uint8_t {
    kept = 1,    // durable (deliver, remember), deliverable (lookup) or done
    no_mailbox,  // 550 5.1.1
    bad_name,    // the pattern cannot be filled in safely with this address: 553 5.1.3
    full,        // ENOSPC, EDQUOT: 452 4.3.1
    failed,      // any other error: 451 4.3.0
  } status = Status::failed;
  std::uint64_t id = 0;
  std::string detail;  // for the log: what failed, with errno text; never shown to clients
  std::string known{};  // recall: '1' or '0' for each key
  bool operator==(const Answer&) const = default;
};
std::string encode(const Answer& answer);
std::expected<Answer, std::string_view> decode_answer(std::string_view bytes);

}  // namespace keeper
