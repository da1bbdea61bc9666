// The envelope of one transaction (RFC 5321 2.3.1): reverse-path and the accepted forward-paths with their parameters.
#pragma once

#include <vector>

#include "protocol/command.h"

namespace protocol {

struct Envelope {
  MailCommand mail;
  std::vector<RcptCommand> recipients;
};

}  // namespace protocol
