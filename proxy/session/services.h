// What a session may use: one set per loop, wired in serve.cc, or by a test.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "proxy/io/connect.h"
#include "proxy/io/spool.h"
#include "proxy/judge/keeper_client.h"
#include "proxy/judge/scan_client.h"

namespace io {
struct TlsContexts;
}

namespace session {

struct Parcel;

// The ends of data that are in flight, visible to the supervisor if this process dies (supervisor/window.h).
class InFlight {
 public:
  virtual ~InFlight() = default;
  // nullptr: no slot is free; the message must not be finished now.
  virtual void* open(const Parcel& parcel, std::string_view downstream) = 0;
  virtual void close(void* slot) = 0;
};

// One slot of it, held from before our final dot until the client has its reply. Open = the downstream may have the message.
class InFlightSlot {
 public:
  InFlightSlot() = default;
  InFlightSlot(const InFlightSlot&) = delete;
  InFlightSlot& operator=(const InFlightSlot&) = delete;
  ~InFlightSlot() { close(); }
  bool take(InFlight& owner, void* slot) {
    owner_ = &owner;
    slot_ = slot;
    return slot != nullptr;
  }
  bool is_open() const { return slot_ != nullptr; }
  void close() {
    if (slot_ != nullptr) owner_->close(slot_);
    slot_ = nullptr;
  }

 private:
  InFlight* owner_ = nullptr;
  void* slot_ = nullptr;
};

class ConnectionPool;
class Identities;
class WithheldLog;

struct Services {
  std::shared_ptr<const config::Config> config;
  io::Connector* connector = nullptr;
  judge::ScanClient* scanner = nullptr;  // nullptr: no scanner is configured
  judge::KeeperClient* keeper = nullptr;
  io::SpoolSpace* spool = nullptr;
  InFlight* in_flight = nullptr;
  std::shared_ptr<const io::TlsContexts> tls;  // of today; nullptr: no TLS anywhere
  ConnectionPool* pool = nullptr;  // nullptr: every session connects anew
  WithheldLog* withheld = nullptr;  // nullptr: keywords are withheld in silence
  Identities* identities = nullptr;  // nullptr: servers are told what is configured, "auto" tells nothing
  std::function<void(admin::Level, admin::Record&&)> log;
  std::function<std::string()> new_trace_id;  // short, unique, printable
};

}  // namespace session
