#include "proxy/io/tls_tickets.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <cstring>
#include <stdexcept>

namespace io {
namespace {

TicketKeys::Key new_key() {
  TicketKeys::Key key;
  const bool random = RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) == 1 &&
                      RAND_priv_bytes(key.cipher.data(), static_cast<int>(key.cipher.size())) == 1 &&
                      RAND_priv_bytes(key.mac.data(), static_cast<int>(key.mac.size())) == 1;
  if (!random) throw std::runtime_error("no random octets for the keys of session tickets");
  return key;
}

}  // namespace

TicketKeys::TicketKeys() : current_(new_key()) {}

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(&current_, sizeof current_);
  if (former_) OPENSSL_cleanse(&*former_, sizeof *former_);
}

void TicketKeys::age(TimePoint now) {
  if (!born_) born_ = now;
  if (now - *born_ < period) return;
  // After two periods of silence no ticket of the former key is good any more.
  const bool long_ago = now - *born_ >= 2 * period;
  const Key next = new_key();
  former_ = long_ago ? std::nullopt : std::optional(current_);
  current_ = next;
  born_ = now;
}

TicketKeys::Key TicketKeys::current(TimePoint now) {
  const std::lock_guard lock(mutex_);
  age(now);
  return current_;
}

std::optional<TicketKeys::Found> TicketKeys::find(const unsigned char* name, TimePoint now) {
  const std::lock_guard lock(mutex_);
  age(now);
  const auto is = [name](const Key& key) { return std::memcmp(name, key.name.data(), key.name.size()) == 0; };
  if (is(current_)) return Found{current_, false};
  if (former_ && is(*former_)) return Found{*former_, true};
  return std::nullopt;
}

}  // namespace io
