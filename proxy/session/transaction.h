// One transaction: from an accepted MAIL to its final reply. One object, destroyed whole (architecture.md, invariant 5).
#pragma once

#include <optional>
#include <string>

#include "protocol/dot_stuffing.h"
#include "protocol/envelope.h"
#include "proxy/admin/log.h"
#include "proxy/io/spool.h"
#include "proxy/judge/facts.h"
#include "proxy/session/client_facts.h"
#include "proxy/session/services.h"

namespace session {

// How the transaction ended, for the summary line.
enum class End {
  open,             // still running; logged as aborted when the session ends here
  answered,         // the client was told the final reply
  client_gone,      // vanished before the downstream could have had the message: nothing was delivered
  answer_lost,      // the final reply could not be written: the client may send it again
  unknown,          // lost between our final dot and the downstream's reply
  reset,            // RSET, HELO or QUIT before the end of data
};

struct Times {  // points in time; unset = did not happen
  io::TimePoint data_begin{}, final_dot{}, scan_end{}, relay_end{};
};

struct Transaction {
  Transaction(std::string id, protocol::MailCommand mail_command) : trace_id(std::move(id)) {
    envelope.mail = std::move(mail_command);
  }
  std::string trace_id;
  protocol::Envelope envelope;  // accepted recipients only
  std::optional<io::Spool> spool;
  protocol::DotDecoder::Counts counts;
  std::optional<protocol::Reply> refusal;  // of the content itself: too big, NUL, bare line ends, no space
  std::string trace_field;                 // our Received field, or empty
  bool by_data = true;                     // its content came by DATA, not by BDAT
  bool hidden = false;                     // no other field is added either
  judge::Verdict verdict;
  bool judged = false;
  Times times;
  std::optional<protocol::Reply> reply;  // the final one
  std::vector<protocol::Reply> each;     // of each recipient, where they differ or the client speaks LMTP
  std::string settled;                   // of the Delivery
  std::string relay;                     // the downstream's address
  InFlightSlot slot;                     // open: our final dot is out
  End end = End::open;
};

// The one summary line of a transaction.
void summarise(admin::Record& record, const Transaction& mail, const ClientFacts& client);

}  // namespace session
