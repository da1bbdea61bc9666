// Dates as mail writes them.
#pragma once

#include <cstdint>
#include <string>

namespace protocol {

// date-time of RFC 5322 section 3.3, in UTC: "Sun, 6 Nov 1994 08:49:37 +0000". `seconds` since 1970, of the years 0 to
// 9999.
std::string format_date(std::int64_t seconds);

}  // namespace protocol
