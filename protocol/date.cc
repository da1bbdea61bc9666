#include "protocol/date.h"

#include <array>
#include <chrono>
#include <string_view>

namespace protocol {
namespace {

// Own names, because those of the library follow the locale.
constexpr std::array<std::string_view, 7> days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string digits(std::int64_t number, std::size_t width) {
  std::string out = std::to_string(number);
  if (out.size() < width) out.insert(0, width - out.size(), '0');
  return out;
}

}  // namespace

std::string format_date(std::int64_t seconds) {
  const std::chrono::sys_seconds when{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(when - day);
  std::string out(days[std::chrono::weekday(day).c_encoding()]);
  out.append(", ").append(std::to_string(static_cast<unsigned>(date.day()))).append(" ");
  out.append(months[static_cast<unsigned>(date.month()) - 1]).append(" ");
  out.append(digits(static_cast<int>(date.year()), 4)).append(" ");
  out.append(digits(time.hours().count(), 2)).append(":").append(digits(time.minutes().count(), 2)).append(":");
  return out.append(digits(time.seconds().count(), 2)).append(" +0000");
}

}  // namespace protocol
