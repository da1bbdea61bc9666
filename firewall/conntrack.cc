#include "firewall/conntrack.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace firewall {
namespace {

constexpr std::uint64_t full = 100, loud_from = 80, quiet_below = 60;

std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

}  // namespace

std::optional<std::string> ConntrackWatch::look() {
  const auto count = number_in(directory_ + "/nf_conntrack_count"), most = number_in(directory_ + "/nf_conntrack_max");
  if (!count || !most || *most == 0) return std::nullopt;  // 0: no bound
  const double share = static_cast<double>(*count) * full / static_cast<double>(*most);
  if (share < quiet_below) told_ = false;
  if (told_ || share < loud_from) return std::nullopt;
  told_ = true;
  return fmt::format(
      "connection tracking is nearly full: {} of {} places are taken; when it is, new connections to this host and "
      "through it are dropped. "
      "Raise it: sysctl -w net.netfilter.nf_conntrack_max={} (and in /etc/sysctl.d, to keep it)",
      *count, *most, *most * 2);
}

bool needs_conntrack(const config::Config& config) {
  return std::ranges::any_of(config.listeners, [](const config::Listener& each) {
    return each.intercept == config::Intercept::redirect || each.intercept == config::Intercept::tproxy;
  });
}

}  // namespace firewall
