// Questions to the DNS. Resolver is what sessions see, and what a test's fake is; UnboundResolver asks with libunbound
// inside the event loop: it caches for the time to live, retries, goes over to TCP, follows aliases, validates
// (DNSSEC). Nothing here blocks or reads a file after its constructor.
#pragma once

#include <netinet/in.h>
#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/config.h"
#include "proxy/io/wait.h"

struct ub_ctx;

namespace io {

class EventLoop;
class HostsFile;

enum class RecordType : std::uint16_t { a = 1, ptr = 12, mx = 15, txt = 16, aaaa = 28, tlsa = 52 };  // as on the wire
std::string_view to_string(RecordType type);

// Names are in the form of RFC 1035 5.1 without the last dot: an octet that is no printable ASCII is \DDD, and a
// backslash stands before what would mean something else. So a name may go into a log, but is not always a host name.
struct AddressRecord {  // A and AAAA
  int family = AF_INET;
  std::array<std::uint8_t, 16> octets{};  // the first four of IPv4
  bool operator==(const AddressRecord&) const = default;
};
struct MxRecord {
  std::uint16_t preference = 0;
  std::string exchange;  // empty: this domain takes no mail (RFC 7505)
  bool operator==(const MxRecord&) const = default;
};
struct PtrRecord {
  std::string name;
  bool operator==(const PtrRecord&) const = default;
};
struct TxtRecord {
  std::string text;  // all its strings together, any octets
  bool operator==(const TxtRecord&) const = default;
};
struct TlsaRecord {  // RFC 6698 2.1
  std::uint8_t usage = 0, selector = 0, matching_type = 0;
  std::string association;  // octets
  bool operator==(const TlsaRecord&) const = default;
};
using Record = std::variant<AddressRecord, MxRecord, PtrRecord, TxtRecord, TlsaRecord>;

struct Found {
  std::vector<Record> records;  // at least one, all of the type that was asked for, in the order of the answer
  std::chrono::seconds ttl{0};  // the least of the whole chain
  bool secure = false;          // validated from the trust anchor on
  std::string name;             // whose records they are: as asked for, or what the aliases (CNAME) led to
};
struct NotFound {
  enum class Why {
    no_such_name,  // NXDOMAIN, or a text that cannot be a name
    no_data,       // the name has no record of this type
    bogus,         // an answer that does not validate: to be treated as none
    failed,        // no answer: try again later
  };
  Why why = Why::failed;
  std::string text;             // "no such name", "server failure (SERVFAIL)": for logs, printable
  std::chrono::seconds ttl{0};  // no_such_name, no_data: how long that holds
  bool secure = false;          // the denial was validated
};
using Lookup = std::expected<Found, NotFound>;
Lookup not_found(NotFound::Why why, std::string text, std::chrono::seconds ttl = {}, bool secure = false);

// One question. Destroying it cancels it.
class Query {
 public:
  Query() = default;
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  virtual ~Query() = default;
  const std::optional<Lookup>& answer() const { return answer_; }
  Signal done;  // raised when the answer comes after ask() has returned

 protected:
  void give(Lookup answer) {
    answer_ = std::move(answer);
    done.raise();
  }

 private:
  std::optional<Lookup> answer_;
};

class Resolver {
 public:
  explicit Resolver(Duration patience) : patience_(patience) {}
  virtual ~Resolver() = default;
  // `name` is complete: no search domain is ever added. The answer may be there at once, and may never come: whoever
  // waits has a deadline. What is wrong is an answer, too; throws std::bad_alloc alone.
  virtual std::unique_ptr<Query> ask(const std::string& name, RecordType type) = 0;
  // The same, waited for until `until` and no longer than patience(); then `failed`.
  Task<Lookup> look_up(std::string name, RecordType type, Scope& scope, TimePoint until);
  Duration patience() const { return patience_; }

 private:
  Duration patience_;
};

class UnboundResolver final : public Resolver {
 public:
  // Questions that are with libunbound at once, the abandoned ones included; further ones fail.
  static constexpr std::size_t most_in_flight = 1000;

  // Reads resolv.conf or the trust anchor, as configured. Without a usable trust anchor every question fails, and
  // `complain` hears why. `hosts` is asked first; null = nothing. Throws std::runtime_error, std::bad_alloc.
  UnboundResolver(EventLoop& loop, const config::Dns& settings, std::shared_ptr<const HostsFile> hosts,
                  const std::function<void(std::string)>& complain);
  ~UnboundResolver() override;  // what is still asked is never answered
  std::unique_ptr<Query> ask(const std::string& name, RecordType type) override;
  std::size_t in_flight() const { return flights_.size(); }

 private:
  class Question;
  struct Flight;
  void launch(Question& question, const std::string& name);
  static void arrived(void* flight, int code, void* packet, int size, int security, char* why_bogus, int) noexcept;
  struct Free {
    void operator()(ub_ctx* context) const;
  };
  std::list<Flight> flights_;
  std::unique_ptr<ub_ctx, Free> context_;
  std::shared_ptr<const HostsFile> hosts_;
  std::string unusable_;  // why no question can be asked
};

// "4.3.2.1.in-addr.arpa", "1.0. ... .ip6.arpa": where PTR records stand (RFC 1035 3.5, RFC 3596 2.5). An IPv6 address
// that maps an IPv4 one is that one. Empty for other families.
std::string reverse_name(const sockaddr* address);

}  // namespace io
