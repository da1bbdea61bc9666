#include "config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/duration.h"
#include "config/nearest.h"
#include "config/quote.h"

namespace config {
namespace {

using std::chrono::seconds;

class Checker {
 public:
  Checker(const Config& config, const Surroundings& machine, Problems& problems)
      : config_(config), machine_(machine), problems_(problems) {}

  void run() {
    if (config_.listeners.empty() && !problems_.failed("/listeners"))
      problems_.error("/listeners", "must not be empty: without a listener there is nothing to serve");
    for (std::size_t i = 0; i < config_.listeners.size(); ++i) listener(i);
    for (const auto& [name, downstream] : config_.downstreams) one_downstream(name, downstream);
    limits();
    spool();
    dns();
    scanners();
    defaults();
    check_identity(config_, problems_);
    check_interception(config_, machine_, problems_);
    check_gate(config_, problems_);
    check_bans(config_, problems_);
    check_tls(config_, machine_, problems_);
  }

 private:
  static std::string listener_pointer(std::size_t i) { return "/listeners/" + std::to_string(i); }

  void listener(std::size_t i) {
    const Listener& listener = config_.listeners[i];
    const std::string pointer = listener_pointer(i);
    for (std::size_t j = 0; j < i; ++j) {
      const Listener& other = config_.listeners[j];
      if (usable(pointer + "/name") && other.name == listener.name)
        problems_.error(pointer + "/name", fmt::format("two listeners are called {}", in_quotes(listener.name)));
      // Any number of listeners may take any free port.
      const bool any_port = !listener.address.is_unix() && port_of(listener.address) == 0;
      if (usable(pointer + "/address") && !any_port && same_address(other.address, listener.address))
        problems_.error(pointer + "/address", fmt::format("listener {} has the address {} already",
                                                          in_quotes(other.name), to_text(other.address)));
    }
    if (listener.address.is_unix() && listener.proxy_header != ProxyHeader::off && usable(pointer + "/address"))
      problems_.error(pointer + "/proxy_header",
                      "belongs to a network address: proxy_from cannot list who connects to a UNIX socket");
    if (!usable(pointer + "/downstream")) return;
    const auto found = config_.downstreams.find(listener.downstream);
    if (found == config_.downstreams.end()) return no_downstream(pointer + "/downstream", listener.downstream);
    used_.insert(listener.downstream);
    one_recipient_each(listener, found->second, pointer + "/mixed_replies");
  }

  // RFC 6409, RFC 8314. A mail program takes 452 for the end of it; who has a queue comes again.
  void one_recipient_each(const Listener& listener, const Downstream& downstream, const std::string& pointer) {
    if (listener.mixed_replies != MixedReplies::single || listener.protocol != Protocol::smtp ||
        downstream.protocol != Protocol::lmtp)
      return;
    const auto is_submission = [](std::uint16_t port) { return port == 465 || port == 587; };
    const bool meant = listener.intercept != Intercept::none && std::ranges::any_of(listener.ports, is_submission);
    if (meant || (!listener.address.is_unix() && is_submission(port_of(listener.address))))
      problems_.error(pointer,
                      "cannot be \"single\" where mail programs submit mail: they give up at the second recipient");
  }

  void no_downstream(const std::string& pointer, const std::string& name) {
    std::vector<std::string_view> known;
    for (const auto& each : config_.downstreams) known.push_back(each.first);
    problems_.error(pointer, fmt::format("there is no downstream {} in /downstreams{}", in_quotes(name),
                                         did_you_mean(name, known)));
  }

  void one_downstream(const std::string& name, const Downstream& downstream) {
    const std::string pointer = "/downstreams/" + escape_pointer(name);
    if (downstream.create && !downstream.path && usable(pointer + "/servers"))
      problems_.error(pointer + "/create", "belongs to a downstream with path: servers have no maildir to make");
    if (!used_.contains(name) && !problems_.any()) problems_.warning(pointer, "no listener uses this downstream");
  }

  void limits() {
    const Limits& l = config_.limits;
    if (problems_.failed("/limits")) return;
    constexpr seconds content{30};  // for DATA and content on the downstream leg
    if (l.scan_wait + l.relay_wait + content > l.answer_within)
      problems_.error(
          "/limits/answer_within",
          fmt::format("scan_wait {} + relay_wait {} + 30s for the content is {}, more than answer_within {}",
                      format_duration(l.scan_wait), format_duration(l.relay_wait),
                      format_duration(l.scan_wait + l.relay_wait + content), format_duration(l.answer_within)));
    if (l.scan_wait + l.min_relay_wait > l.answer_within)
      problems_.error("/limits/min_relay_wait",
                      fmt::format("after a scan_wait of {} less than {} of answer_within {} is left: no such message "
                                  "could ever be relayed",
                                  format_duration(l.scan_wait), format_duration(l.min_relay_wait),
                                  format_duration(l.answer_within)));
    if (l.scan_limit < l.scan_wait)
      problems_.error(
          "/limits/scan_limit",
          fmt::format("{} is less than scan_wait {}: the worker would be killed while the reply waits for it",
                      format_duration(l.scan_limit), format_duration(l.scan_wait)));
    if (l.scan_limit > l.scan_wait)
      problems_.error(
          "/limits/scan_limit",
          fmt::format("{} is more than scan_wait {}: nobody would take the result yet; leave scan_limit out, "
                      "or give both the same value",
                      format_duration(l.scan_limit), format_duration(l.scan_wait)));
  }

  void spool() {
    if (problems_.failed("/spool") || config_.spool.memory <= config_.spool.total_memory) return;
    problems_.error("/spool/total_memory", "is less than spool.memory, which one message alone may take");
  }

  void dns() {
    const Dns& dns = config_.dns;
    if (dns.dnssec && !problems_.failed("/dns") && !machine_.exists(dns.trust_anchor))
      problems_.error("/dns/trust_anchor",
                      fmt::format("{} does not exist, so no answer could be validated; install the package "
                                  "dns-root-data, or name another file",
                                  in_quotes(dns.trust_anchor)));
    if (usable("/dns/hosts") && !dns.hosts.empty() && !machine_.exists(dns.hosts))
      problems_.warning("/dns/hosts", fmt::format("{} does not exist", in_quotes(dns.hosts)));
  }

  void scanners() {
    if (problems_.failed("/scanners")) return;
    if (config_.scanners.empty()) return problems_.warning("no scanners: nothing is scanned");
    for (const Scanner& scanner : config_.scanners) {
      const std::string pointer = "/scanners/" + escape_pointer(scanner.name) + "/signatures/";
      for (std::size_t i = 0; i < scanner.signatures.size(); ++i)
        if (!machine_.exists(scanner.signatures[i]))
          problems_.warning(pointer + std::to_string(i),
                            fmt::format("{} does not exist; without signatures all mail is deferred",
                                        in_quotes(scanner.signatures[i])));
    }
  }

  void defaults() {
    if (config_.defaults.infected == Action::relay)
      problems_.warning("/defaults/infected", "infected mail is relayed, with X-Gatepost-Verdict");
    if (config_.defaults.error == Action::relay)
      problems_.warning("/defaults/error", "mail that could not be scanned is relayed, with X-Gatepost-Verdict");
  }

  // Given, and right so far.
  bool usable(const std::string& pointer) const { return problems_.given(pointer) && !problems_.failed(pointer); }

  const Config& config_;
  const Surroundings& machine_;
  Problems& problems_;
  std::set<std::string> used_;
};

}  // namespace

void check(const Config& config, const Surroundings& machine, Problems& problems) {
  Checker(config, machine, problems).run();
}

}  // namespace config
