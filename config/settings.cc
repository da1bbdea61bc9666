#include "config/settings_rows.h"

namespace config {
namespace {

using namespace rows;

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
          key<&L::max_sessions>("max_sessions", between(1, 10'000'000),
                                "Sessions of all listeners at once; further ones get 421 4.3.2."),
          key<&L::max_connections>("max_connections", between(0, 10'000'000),
                                   "New connections of all listeners per minute, then 421 4.3.2; 0 turns this off."),
          key<&L::memory>("memory", between(0, 1024 * gib),
                          "Memory of the proxy in octets; past it new clients get 421 4.3.2; 0 turns this off."),
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

Section dns() {
  return object<&Config::dns>(
      "dns", "How names are resolved; answers are kept for their time to live, never longer than an hour.",
      {
          key<&Dns::forwarders>("forwarders",
                                computed("the name servers of /etc/resolv.conf, read at start; without that file "
                                         "gatepost asks the servers of each zone itself, from the root down",
                                         literals(1, 65535)),
                                "Addresses of the name servers to ask."),
          key<&Dns::hosts>("hosts", as(path_or_nothing),
                           "File of addresses and names that is asked first, read at start; \"\" for none."),
          key<&Dns::dnssec>("dnssec", {},
                            "Validate answers; those that fail count as no answer. The name servers must do DNSSEC."),
          key<&Dns::trust_anchor>("trust_anchor", as(absolute_path),
                                  "DS or DNSKEY records to validate from, read at start (package dns-root-data)."),
          key<&Dns::timeout>("timeout", between(1ms, 1h), "Longest wait for the answer to one question."),
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
          key<&Users::gate>("gate", as(account_name), "The process that decides about connections, if there is a gate."),
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
          .sections = {listener_settings(), downstream_settings(), scanners(), defaults(), spool(), limits(), dns(),
                       log(), firewall_settings(), users()},
          .open = [](void* parent, const std::string&) { return parent; },
          .each = [](void* parent, const auto& call) { call("", parent); },
          .with_defaults = call_with_fresh<Config>};
}

}  // namespace

std::vector<std::string_view> words_of(Protocol) { return {"smtp", "lmtp"}; }
std::vector<std::string_view> words_of(LineEnds) { return {"normalize", "refuse"}; }
std::vector<std::string_view> words_of(HalfClose) { return {"abort", "finish"}; }
std::vector<std::string_view> words_of(Nul) { return {"refuse", "pass"}; }
std::vector<std::string_view> words_of(ProxyHeader) { return {"off", "v1", "v2", "any"}; }
std::vector<std::string_view> words_of(AuthOffer) { return {"on_tls", "always", "never"}; }
std::vector<std::string_view> words_of(MixedReplies) { return {"journal", "single"}; }
std::vector<std::string_view> words_of(Identity) {
  return {"auto", "proxy-v2", "proxy-v1", "xclient", "xforward", "none", "spoof"};
}
std::vector<std::string_view> words_of(Action) { return {"refuse", "defer", "relay"}; }
std::vector<std::string_view> words_of(LogFormat) { return {"text", "json"}; }
std::vector<std::string_view> words_of(Direction) { return {"incoming", "outgoing"}; }
std::vector<std::string_view> words_of(Intercept) { return {"none", "redirect", "tproxy", "pf-rdr", "divert"}; }
std::vector<std::string_view> words_of(Scope) { return {"input", "forward", "output"}; }
std::vector<std::string_view> words_of(Backend) {
  return {"auto", "nft", "iptables", "pf-openbsd", "pf-freebsd", "ipfw"};
}
std::vector<std::string_view> words_of(OnFailure) { return {"closed", "open"}; }
std::vector<std::string_view> words_of(ListenerTlsMode) { return {"none", "starttls", "implicit", "pass"}; }
std::vector<std::string_view> words_of(DownstreamTlsMode) {
  return {"none", "opportunistic", "required", "verified"};
}
std::vector<std::string_view> words_of(ClientCertificates) { return {"none", "ask", "require"}; }
std::vector<std::string_view> words_of(TlsVersion) { return {"1.2", "1.3"}; }

const Section& root() {
  static const Section section = whole_file();
  return section;
}

}  // namespace config
