#include "config/settings_rows.h"

namespace config {

using namespace rows;

std::vector<Setting> interception_settings() {
  using L = Listener;
  return {
      key<&L::direction>("direction", {},
                         "Whose mail it is: that of the world for our servers, or that of our clients for the world."),
      key<&L::intercept>("intercept", {},
                         "How the packet filter hands over connections that were meant for somebody else."),
      key<&L::scopes>("scopes", {},
                      "Which connections are intercepted: those to this host (\"input\", incoming mail alone), through it "
                      "(\"forward\"), from it (\"output\", with \"redirect\" alone)."),
      key<&L::ports>("ports", {}, "Ports that clients mean to reach; no other one is ever connected to."),
      key<&L::interfaces>("interfaces", as(interface_name),
                          "Where these connections come in (from this host: go out); without it all but loopback."),
      key<&L::skip_interfaces>("skip_interfaces", as(interface_name), "Interfaces where they are left alone."),
      key<&L::drop_interfaces>("drop_interfaces", as(interface_name),
                               "Interfaces where they are dropped: no connection, neither to gatepost nor round it."),
      key<&L::protected_networks>("protected", {},
                                  "Destinations of incoming mail; without it the addresses of this host."),
      key<&L::skip_sources>("skip_sources", {}, "Clients whose connections are left alone."),
      key<&L::skip_destinations>("skip_destinations", {}, "Servers to which connections are left alone."),
  };
}

Section firewall_settings() {
  using F = Firewall;
  return object<&Config::firewall>(
      "firewall", "The packet filter that intercepts; gatepost firewall plan shows what it is told.",
      {
          key<&F::backend>("backend", {}, "What writes the rules; auto takes nft where it can do all, else iptables."),
          key<&F::manage>("manage", {}, "Rules are applied when gatepost is ready. When it stops they let new connections go by, and go with the last "
                           "session; unless firewall.gate.on_failure is closed."),
          key<&F::state_directory>("state_directory", as(absolute_path),
                                   "Where it is remembered, until the next boot, what is in force."),
          key<&F::routing_table>("routing_table", between(1, 0x7FFF'FFFF),
                                 "Number of the routing table for TPROXY and for spoofed sources."),
      },
      {gate_settings(), bans_settings()});
}

}  // namespace config
