#include "config/settings_rows.h"

namespace config {

using namespace rows;

Section listener_settings() {
  using L = Listener;
  Section section = sequence<&Config::listeners>(
      "listeners", false, "Where clients connect.",
      {
          key<&L::name>("name", needed(as(entry_name)), "Name of the listener in logs and metrics."),
          key<&L::protocol>("protocol", {}, "What clients speak."),
          key<&L::address>("address", needed(), "Address to listen on; port 0 takes any free port."),
          key<&L::downstream>("downstream", needed(), "Name of the downstream that gets the mail."),
          key<&L::command_timeout>("command_timeout", between(1ms, 24h),
                                   "Longest wait from one reply to the next complete command."),
          key<&L::data_timeout>("data_timeout", between(1ms, 24h),
                                "Longest time for the whole content, first octet to final dot."),
          key<&L::data_idle_timeout>("data_idle_timeout", between(1ms, 24h),
                                     "Longest wait between two pieces of content."),
          key<&L::min_data_rate>("min_data_rate", between(0, gib),
                                 "Least octets of content per second after the first 30 s; 0 turns this off."),
          key<&L::early_talker_wait>("early_talker_wait", between(0s, 60s),
                                     "Time before the banner in which the client must stay silent; 0s turns this off."),
          key<&L::max_errors>("max_errors", between(1, 1'000'000),
                              "Negative replies in one session before 421 4.7.0 ends it."),
          key<&L::max_junk>("max_junk", between(1, 1'000'000),
                            "NOOP, RSET, VRFY, HELP, HELO and EHLO without a message between them before 421 4.7.0."),
          key<&L::max_recipients>("max_recipients", between(1, 100'000),
                                  "Recipients of one message; further ones get 452 4.5.3."),
          key<&L::max_sessions>("max_sessions", between(1, 1'000'000),
                                "Sessions at once on this listener; further ones get 421 4.3.2."),
          key<&L::max_message>("max_message", between(0, 1024 * gib),
                               "Octets of content, then 552 5.3.4; 0 leaves the limit to the downstream."),
          key<&L::line_ends>("line_ends", {}, "What becomes of a bare LF or CR in content."),
          key<&L::half_close>(
              "half_close", {},
              "What a FIN without QUIT means while a client waits: it is gone, or it only sends no more."),
          key<&L::nul>("nul", {}, "What becomes of content that holds NUL."),
      });
  section.required = true;
  return section;
}

}  // namespace config
