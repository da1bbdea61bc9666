// Bans: what a listener counts, and the kernel's lists.
#include <algorithm>
#include <array>

#include "config/settings_rows.h"

namespace config {

using namespace rows;

namespace {

constexpr std::array<std::string_view, number_of_offences> names{"infected", "early_talk", "errors", "auth_failures",
                                                                 "rate"};
constexpr milliseconds longest_ban = 596h;  // as the kernel counts

// The defaults of each are its own.
template <auto member>
Section rule(Offence offence, std::string_view sentence) {
  Section section =
      object<member>(to_string(offence), sentence,
                     {
                         key<&BanRule::after>("after", between(1, 1000), "So many of them ban the client."),
                         key<&BanRule::within>("within", between(1s, 24h), "The time in which they are counted."),
                         key<&BanRule::time>("for", between(0s, longest_ban),
                                             "How long the client is banned, from the last one on; 0s: never."),
                     });
  section.with_defaults = [](const std::function<void(void*)>& call) {
    ListenerBans fresh;
    call(&(fresh.*member));
  };
  return section;
}

}  // namespace

std::string_view to_string(Offence offence) { return names.at(static_cast<std::size_t>(offence)); }

std::optional<Offence> offence_named(std::string_view word) {
  const auto found = std::ranges::find(names, word);
  if (found == names.end()) return std::nullopt;
  return static_cast<Offence>(found - names.begin());
}

const BanRule& ListenerBans::rule_for(Offence offence) const {
  const std::array<const BanRule*, number_of_offences> rules{&infected, &early_talk, &errors, &auth_failures, &rate};
  return *rules.at(static_cast<std::size_t>(offence));
}

bool ListenerBans::any() const {
  return std::ranges::any_of(names,
                             [this](std::string_view name) { return rule_for(*offence_named(name)).time > 0ms; });
}

Section listener_bans_settings() {
  using B = ListenerBans;
  return object<&Listener::bans>(
      "bans", "Clients that are banned (see firewall.bans) for what they do here; see gatepost(8).", {},
      {
          rule<&B::infected>(Offence::infected, "Messages with a known signature."),
          rule<&B::early_talk>(Offence::early_talk, "Sessions in which the client spoke before the banner."),
          rule<&B::errors>(Offence::errors,
                           "Sessions that were ended for max_errors, for max_junk, or for not being SMTP."),
          rule<&B::auth_failures>(Offence::auth_failures, "AUTH with credentials that the server refused (535)."),
          rule<&B::rate>(Offence::rate, "Connections over max_client_connections."),
      });
}

Section bans_settings() {
  using B = Bans;
  return object<&Firewall::bans>(
      "bans",
      "Clients whose connections to the intercepted ports are reset by the kernel for a time; see gatepost bans.",
      {
          key<&B::on>("on", {}, "The rules look at the lists of banned clients (Linux: sets of nft, or ipset)."),
          key<&B::never>("never", {}, "Clients that are never banned."),
      });
}

}  // namespace config
