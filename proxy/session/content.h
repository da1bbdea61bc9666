// The content of DATA on its way into the spool: decoded, filtered, limited, hashed. Content that will be refused is still
// read to its true end (T:A8), so that the client hears why.
#pragma once

#include "protocol/header_filter.h"
#include "proxy/session/client_leg.h"
#include "proxy/session/downstream.h"
#include "proxy/session/transaction.h"

namespace session {

// Bytes in, spool filled; no waiting. `size_limit` in octets of content, 0 = none.
class ContentIntake {
 public:
  ContentIntake(Transaction& mail, const Services& services, const config::Listener& listener, std::uint64_t size_limit);
  // True when the end of data was found; what follows it stays in `bytes`.
  bool take(std::string_view& bytes);
  std::uint64_t octets_seen() const { return seen_; }

 private:
  void store(bool end);
  void refuse(protocol::Reply reply);
  void refuse_by_content();
  Transaction& mail_;
  const config::Listener& listener_;
  std::uint64_t size_limit_;
  std::uint64_t seen_ = 0;
  protocol::DotDecoder decoder_;
  protocol::HeaderFilter filter_;
  std::string decoded_;  // while the filter looks at it, or while it is thrown away
};

enum class ContentEnd { complete, client_gone, too_slow };

// From our 354 to the client's final dot, keeping the downstream awake.
io::Task<ContentEnd> receive_content(Transaction& mail, const Services& services, const config::Listener& listener,
                                     std::uint64_t size_limit, ClientLeg& client, Downstream& downstream, io::Scope& scope);

}  // namespace session
