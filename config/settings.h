// The one table of all keys. A row binds a key of the file to a member of a struct of config.h, whose initializer is
// the default, with its range and one sentence; loader, checker, `config show`, JSON Schema and manual page read it. To
// add a key: add the member to config.h and one row here.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.h"
#include "config/text_shape.h"

namespace config {

// Where a value lives. Its type decides how the key is written:
//   bool true|false · uint32 a whole number · uint64 octets, 25M or a number · milliseconds "30s" · string and list of
//   strings by TextShape · Endpoint "HOST:PORT" (its one address) or "unix:PATH" · list of Endpoints (names stay names) · list of
//   Netmasks ("192.0.2.0/24") · list of ports (numbers) · enums, and lists of them, by their words
using Slot =
    std::variant<bool*, std::uint32_t*, std::uint64_t*, milliseconds*, std::string*, std::optional<std::string>*,
                 std::vector<std::string>*, Endpoint*, std::vector<Endpoint>*, std::vector<Netmask>*, Protocol*,
                 LineEnds*, HalfClose*, Direction*, Intercept*, std::vector<Scope>*, Backend*, OnFailure*,
                 std::vector<std::uint16_t>*, Nul*, ProxyHeader*, AuthOffer*, MixedReplies*, Identity*, Action*, LogFormat*,
                 ListenerTlsMode*, DownstreamTlsMode*, ClientCertificates*, TlsVersion*>;

// The words of an enum; their order is that of its values.
std::vector<std::string_view> words_of(Protocol);
std::vector<std::string_view> words_of(LineEnds);
std::vector<std::string_view> words_of(HalfClose);
std::vector<std::string_view> words_of(Nul);
std::vector<std::string_view> words_of(ProxyHeader);
std::vector<std::string_view> words_of(AuthOffer);
std::vector<std::string_view> words_of(MixedReplies);
std::vector<std::string_view> words_of(Identity);
std::vector<std::string_view> words_of(Action);
std::vector<std::string_view> words_of(LogFormat);
std::vector<std::string_view> words_of(Direction);
std::vector<std::string_view> words_of(Intercept);
std::vector<std::string_view> words_of(Scope);
std::vector<std::string_view> words_of(Backend);
std::vector<std::string_view> words_of(OnFailure);
std::vector<std::string_view> words_of(ListenerTlsMode);
std::vector<std::string_view> words_of(DownstreamTlsMode);
std::vector<std::string_view> words_of(ClientCertificates);
std::vector<std::string_view> words_of(TlsVersion);

struct Bounds {
  // Of numbers, octets, milliseconds, ports of servers; both included.
  std::uint64_t least = 0, most = std::numeric_limits<std::uint64_t>::max();
  const TextShape* shape = &any_text;  // of strings
  // The only ones allowed (strings, enums); empty = by shape alone, or all words of the enum.
  std::vector<std::string_view> words{};
  bool required = false;
  bool literal = false;         // of endpoints: a network address, never a name or a path
  std::string_view computed{};  // what the default is, when it is not the member's initializer
};

struct Setting {
  std::string_view key;
  Slot (*slot)(void* owner);  // the owner is the struct of this setting's Section
  Bounds bounds;
  std::string_view sentence;
};

enum class Nesting {
  object,   // one struct: "spool": { ... }
  list,     // structs in an array: "listeners": [ { ... } ]
  by_name,  // structs in an object, the key is the name: "scanners": { "clamav": { ... } }
};

struct Section {
  std::string_view key;
  Nesting nesting = Nesting::object;
  std::string_view sentence;
  std::vector<Setting> settings;
  std::vector<Section> sections;
  bool required = false;
  std::vector<std::string_view> exactly_one_of{};  // keys of which each struct has one
  std::uint64_t most_entries = 0;                  // by_name: how many structs there may be; 0 = any number
  // The struct inside its parent: the only one (object), or a new one at the end or of that name (list, by_name).
  std::function<void*(void* parent, const std::string& name)> open;
  // Calls for each struct inside the parent.
  std::function<void(void* parent, const std::function<void(const std::string& name, void* owner)>&)> each;
  std::function<void(const std::function<void(void* owner)>&)> with_defaults;  // calls with one fresh struct
};

// The whole file; its owner is a Config.
const Section& root();

}  // namespace config
