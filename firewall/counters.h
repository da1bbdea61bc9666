// How many connections each rule has diverted so far, as the kernel counts them; a SYN that is sent again counts twice.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "firewall/plan.h"

namespace firewall {

// Label of a diversion -> connections; undecided_label(): those that went by a fail-open gate that did not answer;
// dropped_label(), missed_label(): first packets that were dropped. A label that is missing has no rule in the kernel.
// Empty for backends that count nothing by label.
using Counters = std::map<std::string, std::uint64_t>;

Counters read_counters(const Plan& plan);
// Nothing: the packet filter's program does not say. Rules that are not there are an answer.
std::optional<Counters> try_counters(const Plan& plan);

}  // namespace firewall
