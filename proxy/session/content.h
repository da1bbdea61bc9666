// The content of DATA or BDAT on its way into the spool: decoded, filtered, limited, hashed. Content that will be
// refused is still read to its true end (T:A8, T:B5), so that the client hears why and the next command is one.
#pragma once

#include <variant>

#include "protocol/chunking.h"
#include "protocol/dot_stuffing.h"
#include "protocol/header_filter.h"
#include "protocol/header_meter.h"
#include "proxy/session/client_leg.h"
#include "proxy/session/downstream.h"
#include "proxy/session/transaction.h"

namespace session {

// Takes octets off the client's leg; no waiting.
class Intake {
 public:
  Intake() = default;
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;
  virtual ~Intake() = default;
  // True when all that was to come is there; what follows it stays in `bytes`.
  bool take(std::string_view& bytes);
  std::uint64_t octets_seen() const { return seen_; }

 private:
  virtual bool decode(std::string_view& bytes) = 0;
  std::uint64_t seen_ = 0;
};

// The octets of a chunk that was refused.
class DiscardedChunk final : public Intake {
 public:
  explicit DiscardedChunk(const protocol::BdatCommand& chunk) { reader_.begin(chunk); }

 private:
  bool decode(std::string_view& bytes) override;
  protocol::ChunkReader reader_{protocol::ChunkContent::discarded};
  std::string nothing_;
};

// Fills the spool of `mail`, or gives it up and sets mail.refusal.
class ContentIntake final : public Intake {
 public:
  enum class Form { data, chunks };
  // `size_limit` in octets of content, 0 = none.
  ContentIntake(Transaction& mail, const Services& services, const config::Listener& listener, std::uint64_t size_limit,
                Form form);
  void begin(const protocol::BdatCommand& chunk);  // with Form::chunks: take() is about this one then

 private:
  bool decode(std::string_view& bytes) override;
  bool decode_to(std::string_view& bytes, std::string& out);
  bool is_whole() const;
  const protocol::ContentCounts& counts() const;
  void filter(std::string_view decoded, bool whole);
  void store(bool whole);
  void refuse(protocol::Reply reply);
  void refuse_by_header();
  void refuse_by_content();
  Transaction& mail_;
  const config::Listener& listener_;
  std::uint64_t size_limit_;
  bool binary_;  // BODY=BINARYMIME: whatever octets there are
  std::variant<protocol::DotDecoder, protocol::ChunkReader> decoder_;
  protocol::HeaderFilter filter_;
  protocol::HeaderMeter meter_;
};

enum class ContentEnd { complete, client_gone, too_slow };

// Until `intake` has all, keeping the downstream awake. `begin`: when the content began; limits of time count from it.
io::Task<ContentEnd> receive_content(Intake& intake, io::TimePoint begin, const config::Listener& listener,
                                     ClientLeg& client, Downstream& downstream, io::Scope& scope);

}  // namespace session
