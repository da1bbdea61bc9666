// judge(): facts -> verdict by the `defaults` of the configuration (architecture.md, Config). Rules come in front of
// it.
#pragma once

#include <string_view>

#include "proxy/judge/facts.h"

namespace judge {

// The field that carries a verdict other than clean; incoming copies are removed while the message streams in.
inline constexpr std::string_view verdict_field = "X-Gatepost-Verdict";

Verdict judge(const config::Defaults& defaults, const Facts& facts);

}  // namespace judge
