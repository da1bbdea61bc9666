#include "config/settings_rows.h"

namespace config {

using namespace rows;

namespace {

using L = Listener;

// How long clients may take.
std::vector<Setting> waits() {
  return {
      key<&L::command_timeout>("command_timeout", between(1ms, 24h),
                               "Longest wait from one reply to the next complete command."),
      key<&L::data_timeout>("data_timeout", between(1ms, 24h),
                            "Longest time for the whole content, first octet to final dot."),
      key<&L::data_idle_timeout>("data_idle_timeout", between(1ms, 24h), "Longest wait between two pieces of content."),
      key<&L::min_data_rate>("min_data_rate", between(0, gib),
                             "Least octets of content per second after the first 30 s; 0 turns this off."),
      key<&L::early_talker_wait>("early_talker_wait", between(0s, 60s),
                                 "Time before the banner in which the client must stay silent; with 0s we do not wait for that, "
                                 "but who has spoken by then is refused all the same."),
      key<&L::handshake_timeout>("handshake_timeout", between(1ms, 1h),
                                 "Longest wait for the PROXY header, and for a TLS handshake."),
  };
}

// How much they may do, in one session and together.
std::vector<Setting> bounds() {
  return {
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
      key<&L::max_header>("max_header", between(0, gib),
                          "Octets of the header section, then 552 5.3.4; 0 turns this off."),
      key<&L::max_header_fields>("max_header_fields", between(0, 1'000'000),
                                 "Fields of the header section, then 554 5.6.0; 0 turns this off."),
      key<&L::max_received>("max_received", between(1, 1000), "Received fields that make a message a loop: 554 5.4.6."),
      key<&L::max_messages>("max_messages", between(0, 1'000'000),
                            "Messages in one session, then 421 4.7.0; 0 turns this off."),
      key<&L::max_auth_failures>("max_auth_failures", between(1, 1'000'000),
                                 "Failed AUTH in one session before 421 4.7.0 ends it."),
      key<&L::max_client_sessions>("max_client_sessions", between(0, 1'000'000),
                                   "Sessions at once per client network, then 421 4.7.0; 0 turns this off."),
      key<&L::max_client_connections>(
          "max_client_connections", between(0, 1'000'000),
          "New connections per client network and minute, then 421 4.7.0; 0 turns this off."),
      key<&L::max_connections>("max_connections", between(0, 10'000'000),
                               "New connections per minute, then 421 4.3.2; 0 turns this off."),
      key<&L::client_prefix_v4>("client_prefix_v4", between(8, 32), "Leading bits that make a client network, IPv4."),
      key<&L::client_prefix_v6>("client_prefix_v6", between(16, 128), "The same for IPv6."),
  };
}

// What becomes of content.
std::vector<Setting> content() {
  return {
      key<&L::line_ends>("line_ends", {}, "What becomes of a bare LF or CR in content."),
      key<&L::half_close>("half_close", {},
                          "What a FIN without QUIT means while a client waits: it is gone, or it only sends no more."),
      key<&L::nul>("nul", {}, "What becomes of content that holds NUL."),
      key<&L::received>("received", {}, "Add a Received field to each message."),
      key<&L::hide>("hide", {},
                    "Show the server itself: its banner, EHLO and replies, no added field, no reuse of connections."),
      key<&L::mixed_replies>("mixed_replies", {},
                             "Servers may accept a message for some recipients only: keep a journal of who has it "
                             "and have the client try again, or take one recipient at a time (\"single\": not on ports "
                             "465 and 587, where mail programs give up at the second one)."),
  };
}

// Who may speak for somebody else.
std::vector<Setting> identity() {
  return {
      key<&L::proxy_header>("proxy_header", {}, "Version of the PROXY header that each connection must begin with."),
      key<&L::proxy_from>("proxy_from", {}, "Who may connect where proxy_header is on: the proxies in front."),
      key<&L::xclient_from>("xclient_from", {}, "Who may tell by XCLIENT whom he speaks for."),
      key<&L::xforward_from>("xforward_from", {}, "Who may tell by XFORWARD whose mail it is."),
      key<&L::received_from>("received_from", {},
                             "Mail servers whose topmost Received field tells the client, for the log."),
  };
}

// What is offered.
std::vector<Setting> extensions() {
  return {
      key<&L::auth>("auth", {}, "When AUTH is offered; on_tls includes clients on a loopback address."),
      key<&L::auth_mechanisms>("auth_mechanisms", one_of({"GSSAPI", "NTLM", "DIGEST-MD5"}),
                               "Mechanisms to offer although they may negotiate a security layer."),
      key<&L::withhold>("withhold",
                        one_of({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING",
                                "BINARYMIME", "AUTH", "PRDR", "LIMITS", "VRFY", "ETRN"}),
                        "EHLO keywords that are never offered."),
      key<&L::forward_commands>("forward_commands", one_of({"VRFY", "EXPN", "HELP", "ETRN"}),
                                "Commands that go downstream; otherwise VRFY gets 252, HELP 214, the others 502."),
  };
}

}  // namespace

Section listener_settings() {
  Section section = sequence<&Config::listeners>(
      "listeners", false, "Where clients connect.",
      {
          key<&L::name>("name", needed(as(entry_name)), "Name of the listener in logs and metrics."),
          key<&L::protocol>("protocol", {}, "What clients speak."),
          key<&L::address>("address", needed(), "Address to listen on; port 0 takes any free port."),
          key<&L::downstream>("downstream", needed(), "Name of the downstream that gets the mail."),
      },
      {listener_tls_settings(), listener_bans_settings()});
  for (std::vector<Setting> (*group)() : {interception_settings, waits, bounds, content, identity, extensions})
    for (Setting& setting : group()) section.settings.push_back(std::move(setting));
  section.required = true;
  return section;
}

}  // namespace config
