#include "test/playbooks/random_downstream.h"

#include <utility>

namespace playbook {

void RandomDownstream::play(std::size_t first) {
  for (bool more = true; more;) {
    more = false;
    for (std::size_t number = first; number <= world_.connector.attempts(); ++number)
      while (play_one(number)) more = true;
  }
}

void RandomDownstream::say(std::size_t number, std::string_view line) {
  world_.downstream_sends(number, std::string(line) + "\r\n");
}

bool RandomDownstream::play_one(std::size_t number) {
  Connection& connection = connections_[number];
  Peer& peer = world_.downstream(number);
  if (!peer.connected() || connection.over) return false;
  if (!connection.greeted) {
    connection.greeted = true;
    say(number, "220 mta.example.net");
    return true;
  }
  const std::string& received = peer.received();
  if (connection.chunk) {
    if (received.size() < *connection.chunk) return false;
    const std::size_t size = *std::exchange(connection.chunk, std::nullopt);
    take_content(number, peer.take(size), true);
    return true;
  }
  const std::size_t dot = received.starts_with(".\r\n") ? 0 : received.find("\r\n.\r\n");
  const std::size_t end = connection.in_content ? dot : received.find("\r\n");
  if (end == std::string::npos) return false;
  if (connection.in_content) {
    take_content(number, peer.take(received.starts_with(".\r\n") ? 3 : dot + 5), false);
  } else {
    std::string line = peer.take(end + 2);
    line.resize(end);
    obey(number, line);
  }
  return true;
}

void RandomDownstream::obey(std::size_t number, const std::string& line) {
  Connection& connection = connections_[number];
  BelievedEnvelope& envelope = connection.envelope;
  if (trouble(1)) {  // it dies, one way or the other
    connection.over = true;
    happens(50) ? world_.downstream(number).close() : world_.downstream(number).reset();
    return world_.settle();
  }
  if (line.starts_with("EHLO ")) {
    if (trouble(5)) return say(number, "504 5.5.4 Not with that name");
    envelope = BelievedEnvelope();
    say(number, "250-mta.example.net");
    if (!trouble(30)) say(number, "250-PIPELINING");
    for (const char* keyword : {"250-8BITMIME", "250-SMTPUTF8", "250-DSN"}) say(number, keyword);
    if (number <= chunking_)
      for (const char* keyword : {"250-CHUNKING", "250-BINARYMIME"}) say(number, keyword);
    return say(number, "250 SIZE");
  }
  if (line == "RSET") {
    if (trouble(5)) {
      connection.refused_reset = true;
      return say(number, "502 5.5.1 No");
    }
    envelope = BelievedEnvelope();
    return say(number, "250 2.0.0 Ok");
  }
  if (line.starts_with("MAIL ")) {
    if (!envelope.mail.empty() && !connection.refused_reset) scandal_ = "MAIL inside a transaction: " + line;
    if (!envelope.mail.empty()) return say(number, "503 5.5.1 Nested MAIL");
    if (trouble(20)) return say(number, happens(50) ? "550 5.7.1 No" : "451 4.3.0 Later");
    envelope.mail = line.substr(5);
    return say(number, "250 2.1.0 Ok");
  }
  if (line.starts_with("RCPT ")) {
    if (envelope.mail.empty()) return say(number, "503 5.5.1 MAIL first");
    if (trouble(30)) return say(number, happens(50) ? "550 5.1.1 No" : "450 4.2.0 Later");
    envelope.recipients.push_back(line.substr(5));
    return say(number, "250 2.1.5 Ok");
  }
  if (line == "DATA") {
    if (envelope.recipients.empty()) scandal_ = "DATA without a recipient";
    if (trouble(10)) return say(number, "451 4.3.0 Later");
    connection.in_content = true;
    return say(number, "354 Go ahead");
  }
  if (const auto chunk = chunk_size(line)) {
    if (envelope.recipients.empty()) scandal_ = "BDAT without a recipient";
    if (number > chunking_ || !chunk->last) scandal_ = "an odd BDAT";
    connection.chunk = chunk->octets;
    return;
  }
  say(number, line == "QUIT" ? "221 Bye" : "250 2.0.0 Ok");
}

void RandomDownstream::take_content(std::size_t number, const std::string& wire, bool chunked) {
  Connection& connection = connections_[number];
  connection.in_content = false;
  const bool accepted = !trouble(20);
  delivered_.push_back({std::exchange(connection.envelope, {}), wire, chunked, accepted});
  say(number, accepted ? "250 2.0.0 Ok" : "554 5.6.0 No");
}

}  // namespace playbook
