// What an alert name of libclamav means. Pure text.
#pragma once

#include <string_view>

#include "scanner/report.h"

namespace scanner {

// "Heuristics.Encrypted.Zip" -> unscannable(encrypted), "Heuristics.Limits.Exceeded.MaxFiles" -> unscannable(files),
// an unknown limit -> unscannable(limit), "PUA.*" and other heuristics -> suspicious, all else -> infected.
Finding finding_of(std::string_view engine, std::string_view alert);

}  // namespace scanner
