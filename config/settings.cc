#include "config/settings.h"

namespace config {
namespace {

using namespace std::chrono_literals;

template <class>
struct MemberPointer;
template <class Struct, class Type>
struct MemberPointer<Type Struct::*> {
  using Owner = Struct;
  using Value = Type;
};
template <auto member>
using OwnerOf = typename MemberPointer<decltype(member)>::Owner;
template <auto member>
using ValueOf = typename MemberPointer<decltype(member)>::Value;

template <auto member>
Setting key(std::string_view name, Bounds bounds, std::string_view sentence) {
  const auto slot = [](void* owner) -> Slot { return &(static_cast<OwnerOf<member>*>(owner)->*member); };
  return {name, slot, std::move(bounds), sentence};
}

template <class Struct>
void call_with_fresh(const std::function<void(void*)>& call) {
  Struct fresh;
  call(&fresh);
}

template <auto member>
Section object(std::string_view name, std::string_view sentence, std::vector<Setting> settings,
               std::vector<Section> sections = {}) {
  const auto at = [](void* parent) { return &(static_cast<OwnerOf<member>*>(parent)->*member); };
  return {.key = name,
          .nesting = Nesting::object,
          .sentence = sentence,
          .settings = std::move(settings),
          .sections = std::move(sections),
          .open = [at](void* parent, const std::string&) { return at(parent); },
          .each = [at](void* parent, const auto& call) { call("", at(parent)); },
          .with_defaults = call_with_fresh<ValueOf<member>>};
}

// Of a vector, in file order; `named`: an object whose keys become the structs' `name`.
template <auto member>
Section sequence(std::string_view name, bool named, std::string_view sentence, std::vector<Setting> settings) {
  const auto at = [](void* parent) { return &(static_cast<OwnerOf<member>*>(parent)->*member); };
  return {.key = name,
          .nesting = named ? Nesting::by_name : Nesting::list,
          .sentence = sentence,
          .settings = std::move(settings),
          .sections = {},
          .open =
              [at, named](void* parent, const std::string& entry) {
                auto* added = &at(parent)->emplace_back();
                if (named) added->name = entry;
                return added;
              },
          .each =
              [at](void* parent, const auto& call) {
                for (auto& entry : *at(parent)) call(entry.name, &entry);
              },
          .with_defaults = call_with_fresh<typename ValueOf<member>::value_type>};
}

template <auto member>
Section mapping(std::string_view name, std::string_view sentence, std::vector<Setting> settings) {
  const auto at = [](void* parent) { return &(static_cast<OwnerOf<member>*>(parent)->*member); };
  return {.key = name,
          .nesting = Nesting::by_name,
          .sentence = sentence,
          .settings = std::move(settings),
          .sections = {},
          .open =
              [at](void* parent, const std::string& entry) {
                auto* added = &(*at(parent))[entry];
                added->name = entry;
                return added;
              },
          .each =
              [at](void* parent, const auto& call) {
                for (auto& [entry, value] : *at(parent)) call(entry, &value);
              },
          .with_defaults = call_with_fresh<typename ValueOf<member>::mapped_type>};
}

Bounds between(std::uint64_t least, std::uint64_t most) { return {.least = least, .most = most}; }
Bounds between(milliseconds least, milliseconds most) {
  return {.least = static_cast<std::uint64_t>(least.count()), .most = static_cast<std::uint64_t>(most.count())};
}
Bounds as(const TextShape& shape) { return {.shape = &shape}; }
Bounds one_of(std::vector<std::string_view> words) { return {.words = std::move(words)}; }
Bounds needed(Bounds bounds = {}) {
  bounds.required = true;
  return bounds;
}
Bounds computed(std::string_view what, Bounds bounds) {
  bounds.computed = what;
  return bounds;
}

constexpr std::uint64_t kib = 1U << 10U, mib = 1U << 20U, gib = 1U << 30U;

Section listeners() {
  using L = Listener;
  Section section = sequence<&Config::listeners>(
      "listeners", false, "Where clients connect.",
      {
          key<&L::name>("name", needed(as(entry_name)), "Name of the listener in logs and metrics."),
          key<&L::protocol>("protocol", {}, "What clients speak."),
          key<&L::address>("address", needed(), "Address to listen on; port 0 takes any free port."),
          key<&L::downstream>("downstream", needed(), "Name of the downstream that gets the mail."),
          key<&L::command_timeout>("command_timeout", between(1ms, 24h),
                                   "Longest wait from one reply to the next complete command."),
          key<&L::data_timeout>("data_timeout", between(1ms, 24h),
                                "Longest time for the whole content, first octet to final dot."),
          key<&L::data_idle_timeout>("data_idle_timeout", between(1ms, 24h),
                                     "Longest wait between two pieces of content."),
          key<&L::min_data_rate>("min_data_rate", between(0, gib),
                                 "Least octets of content per second after the first 30 s; 0 turns this off."),
          key<&L::early_talker_wait>("early_talker_wait", between(0s, 60s),
                                     "Time before the banner in which the client must stay silent; 0s turns this off."),
          key<&L::max_errors>("max_errors", between(1, 1'000'000),
                              "Negative replies in one session before 421 4.7.0 ends it."),
          key<&L::max_junk>("max_junk", between(1, 1'000'000),
                            "NOOP, RSET, VRFY, HELP, HELO and EHLO without a message between them before 421 4.7.0."),
          key<&L::max_recipients>("max_recipients", between(1, 100'000),
                                  "Recipients of one message; further ones get 452 4.5.3."),
          key<&L::max_sessions>("max_sessions", between(1, 1'000'000),
                                "Sessions at once on this listener; further ones get 421 4.3.2."),
          key<&L::max_message>("max_message", between(0, 1024 * gib),
                               "Octets of content, then 552 5.3.4; 0 leaves the limit to the downstream."),
          key<&L::line_ends>("line_ends", {}, "What becomes of a bare LF or CR in content."),
          key<&L::half_close>(
              "half_close", {},
              "What a FIN without QUIT means while a client waits: it is gone, or it only sends no more."),
          key<&L::nul>("nul", {}, "What becomes of content that holds NUL."),
      });
  section.required = true;
  return section;
}

Section downstreams() {
  using D = Downstream;
  Section section = mapping<&Config::downstreams>(
      "downstreams", "Where mail goes: each has either servers or path.",
      {
          key<&D::protocol>("protocol", {}, "What the servers speak."),
          key<&D::servers>("servers", between(1, 65535),
                           "Mail servers, tried in order; a name stands for all addresses it has at start."),
          key<&D::path>("path", as(mailbox_path),
                        "Maildir for the mail; %local and %domain are those of the recipient."),
          key<&D::create>("create", {}, "Make a missing maildir; otherwise its recipient is refused with 550 5.1.1."),
          key<&D::accept_source_loss>("accept_source_loss", {},
                                      "Allow listeners on other addresses than loopback although the servers see "
                                      "gatepost as the client: where they trust its address, this is an open relay."),
          key<&D::connect_timeout>("connect_timeout", between(1ms, 1h), "Longest wait for a connection, per server."),
          key<&D::greeting_timeout>("greeting_timeout", between(1ms, 1h), "Longest wait for the banner and for EHLO."),
          key<&D::reply_timeout>("reply_timeout", between(1ms, 1h),
                                 "Longest wait for the reply to MAIL, RCPT, RSET or DATA."),
          key<&D::keepalive>("keepalive", between(0s, 1h),
                             "Time between two NOOPs while the client sends or a scan runs; 0s turns them off."),
      });
  section.required = true;
  section.exactly_one_of = {"servers", "path"};
  return section;
}

Section scanners() {
  using S = Scanner;
  Section section = sequence<&Config::scanners>(
      "scanners", true, "What looks at mail; without any, nothing is scanned.",
      {
          key<&S::engine>("engine", one_of({"libclamav"}), "Which engine scans."),
          key<&S::signatures>("signatures", needed(as(absolute_path)), "Signature files, or directories of them."),
          key<&S::workers>("workers", between(1, 256), "Worker processes, each with one message at a time."),
          key<&S::queue>("queue", between(1, 65536), "Messages that may wait for a worker; further ones are deferred."),
          key<&S::memory>("memory", between(16 * mib, 1024 * gib),
                          "Memory of one worker in octets; past it the scan fails."),
          key<&S::max_scan_size>("max_scan_size", between(1 * kib, 4 * gib),
                                 "Octets scanned of one message, everything unpacked from it included."),
          key<&S::max_file_size>("max_file_size", between(1 * kib, 2 * gib), "Octets of one file inside a message."),
          key<&S::max_recursion>("max_recursion", between(1, 100), "Archives inside archives."),
          key<&S::max_files>("max_files", between(1, 1'000'000), "Files inside one message."),
          key<&S::test_hooks>("test_hooks", {},
                              "Obey test files that crash, hang or fill the worker; never in production."),
      });
  section.most_entries = 1;
  return section;
}

Section defaults() {
  using D = Defaults;
  using U = Unscannable;
  return object<&Config::defaults>(
      "defaults", "What happens to mail that is not clean; relay adds X-Gatepost-Verdict.",
      {
          key<&D::infected>("infected", {}, "Mail with a known signature."),
          key<&D::suspicious>("suspicious", {}, "Mail that an engine's heuristics dislike."),
          key<&D::error>("error", one_of({"defer", "relay"}), "Mail that could not be scanned for a fault of ours."),
      },
      {object<&D::unscannable>("unscannable", "Mail that cannot be looked into, by reason.",
                               {
                                   key<&U::encrypted>("encrypted", {}, "Archives and documents with a password."),
                                   key<&U::size>("size", {}, "Larger than the scanner's sizes."),
                                   key<&U::recursion>("recursion", {}, "Nested deeper than max_recursion."),
                                   key<&U::files>("files", {}, "More files than max_files."),
                                   key<&U::time>("time", {}, "Not scanned within scan_wait."),
                                   key<&U::limit>("limit", {}, "Past any other limit of the engine."),
                               })});
}

Section limits() {
  using L = Limits;
  return object<&Config::limits>(
      "limits", "Budget of one message from the client's final dot to the reply.",
      {
          key<&L::answer_within>("answer_within", between(1ms, 1h),
                                 "From the client's final dot to the reply; wins over all."),
          key<&L::relay_wait>("relay_wait", between(1ms, 1h), "From gatepost's final dot to the downstream's reply."),
          key<&L::min_relay_wait>(
              "min_relay_wait", between(0s, 1h),
              "With less left of answer_within before the final dot, the downstream is left without it."),
          key<&L::scan_wait>("scan_wait", between(1ms, 1h), "Longest wait of a reply for the scan."),
          key<&L::scan_limit>("scan_limit", computed("scan_wait", between(1ms, 1h)),
                              "When a worker that still scans is killed."),
          key<&L::drain>("drain", between(0s, 1h), "After TERM: how long running transactions may take."),
      });
}

Section spool() {
  return object<&Config::spool>(
      "spool", "Content of messages while gatepost holds it.",
      {
          key<&Spool::directory>("directory", as(absolute_path),
                                 "Directory for messages that are too large for memory."),
          key<&Spool::memory>("memory", between(0, gib),
                              "Octets of one message kept in memory; a larger one becomes a file."),
          key<&Spool::total_memory>("total_memory", between(0, 1024 * gib),
                                    "Octets of all messages kept in memory together."),
      });
}

Section log() {
  return object<&Config::log>("log", "The log.",
                              {
                                  key<&Log::format>("format", {}, "One line of text or one JSON object per event."),
                                  key<&Log::to>("to", as(log_target), "Where it goes: stderr, syslog or a file."),
                              });
}

Section users() {
  return object<&Config::users>(
      "users", "Accounts of the processes when gatepost is started by root; names or numbers.",
      {
          key<&Users::proxy>("proxy", as(account_name), "The processes that speak SMTP."),
          key<&Users::keeper>("keeper", as(account_name), "The process that writes mail to disk."),
          key<&Users::scanner>("scanner", as(account_name), "The processes that look into mail."),
      });
}

Section whole_file() {
  using C = Config;
  return {.key = "",
          .nesting = Nesting::object,
          .sentence = "Configuration of gatepost.",
          .settings =
              {
                  key<&C::hostname>("hostname", computed("the machine's own name", as(host_name)),
                                    "Name of this host in banner, EHLO and Received."),
                  key<&C::loops>("loops", between(0, 1024), "Event loops, one thread each; 0 = one per processor."),
                  key<&C::state_directory>("state_directory", as(absolute_path),
                                           "Directory for what must survive a restart."),
              },
          .sections = {listeners(), downstreams(), scanners(), defaults(), spool(), limits(), log(), users()},
          .open = [](void* parent, const std::string&) { return parent; },
          .each = [](void* parent, const auto& call) { call("", parent); },
          .with_defaults = call_with_fresh<Config>};
}

}  // namespace

std::vector<std::string_view> words_of(Protocol) { return {"smtp"}; }
std::vector<std::string_view> words_of(LineEnds) { return {"normalize", "refuse"}; }
std::vector<std::string_view> words_of(HalfClose) { return {"abort", "finish"}; }
std::vector<std::string_view> words_of(Nul) { return {"refuse", "pass"}; }
std::vector<std::string_view> words_of(Action) { return {"refuse", "defer", "relay"}; }
std::vector<std::string_view> words_of(LogFormat) { return {"text", "json"}; }

const Section& root() {
  static const Section section = whole_file();
  return section;
}

}  // namespace config
