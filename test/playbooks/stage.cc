#include "test/playbooks/stage.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "test/playbooks/settings_of_script.h"

namespace playbook {
namespace {

// "C>", "D2<~": who, which connection, what.
struct Head {
  char actor = 0;
  std::size_t number = 1;
  std::string_view sign;
};

Head head_of(std::string_view text) {
  Head head;
  head.actor = text.front();
  text.remove_prefix(1);
  if (!text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0) {
    head.number = static_cast<std::size_t>(text.front() - '0');
    text.remove_prefix(1);
  }
  head.sign = text;
  return head;
}

// "raw '...'", "repeat 1000 '...'" or a line of its own.
std::string bytes_of(std::string_view text) {
  if (text.starts_with("raw ")) return octets_of(text.substr(4));
  if (!text.starts_with("repeat ")) return std::string(text) + "\r\n";
  text.remove_prefix(7);
  std::size_t count = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string piece = octets_of(std::string_view(parsed.ptr + 1, text.data() + text.size()));
  std::string all;
  all.reserve(count * piece.size());
  while (count-- > 0) all += piece;
  return all;
}

std::size_t octets_behind(std::string_view text, std::string_view word) {
  std::size_t count = 0;
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

bool is_clock(const ScriptLine& line) { return line.head == "wait" || line.head == "drain" || line.head == "stop"; }

void silence(const std::string& whom, const Peer& peer) {
  if (!peer.received().empty()) throw Mismatch(whom + " got what the file does not say: " + visible(peer.received()));
}

std::string next_line(const std::string& whom, Peer& peer) {
  const std::size_t end = peer.received().find('\n');
  if (end == std::string::npos)
    throw Mismatch(whom + " got no complete line" +
                   (peer.received().empty() ? "" : " but " + visible(peer.received())));
  return peer.take(end + 1);
}

}  // namespace

void Stage::obey(const ScriptLine& line) {
  if (line.head == "set") {
    const std::size_t end = std::min(line.text.find(' '), line.text.size());
    return set_key(world_, line.text.substr(0, end), line.text.substr(std::min(end + 1, line.text.size())));
  }
  if (line.head == "downstream" && line.text == "maildir") {
    world_.downstream_settings().servers.clear();
    world_.downstream_settings().path = "/var/mail/%local";
    return;
  }
  const Head head = head_of(line.head);
  const bool before_start = head.actor == 'D' && (line.text == "refuse" || line.text == "hang");
  if (!before_start && !world_.started()) world_.start();
  if (is_clock(line)) return clock(line);
  switch (head.actor) {
    case 'C':
      return client(head.sign, line.text);
    case 'D':
      return downstream(head.number, head.sign, line.text);
    case 'S':
      return scanner(head.sign, line.text);
    case 'K':
      return keeper(head.sign, line.text);
    case 'L':
      return log(head.sign, line.text);
    default:
      throw BadScript("not understood: " + line.head);
  }
}

// What moves the world rather than a peer.
void Stage::clock(const ScriptLine& line) {
  if (line.head == "wait") return world_.pass(duration_of(line.text));
  if (line.head == "drain") world_.loop.drain();
  else world_.loop.stop_all();
  world_.settle();
}

void Stage::client(std::string_view sign, const std::string& text) {
  if (sign == "+") {
    group_ += bytes_of(text);
  } else if (sign == ">") {
    if (text == "close" || text == "reset") client_done_ = true;
    if (text == "close") world_.client.finish();
    else if (text == "reset") world_.client.reset();
    else if (text.starts_with("stall")) world_.stall(world_.client, octets_behind(text, "stall"));
    else if (text == "read") world_.read_on(world_.client);
    else return world_.client_sends(std::exchange(group_, {}) + bytes_of(text));
    world_.settle();
  } else {
    expect("the client", world_.client, sign, text);
  }
}

void Stage::downstream(std::size_t number, std::string_view sign, const std::string& text) {
  Peer& peer = world_.downstream(number);
  const std::string name = "downstream " + std::to_string(number);
  if (sign == ">" && text == "refuse") return world_.connector.plan(number, FakeConnector::Plan::refuse);
  if (sign == ">" && text == "hang") return world_.connector.plan(number, FakeConnector::Plan::hang);
  if (sign == "<" && text == "connect") {
    if (!peer.connected()) throw Mismatch(name + " was not connected to");
    return;
  }
  if (sign == "<" && text == "nothing") {
    if (peer.connected()) throw Mismatch(name + " was connected to");
    return;
  }
  if (!peer.connected()) throw Mismatch(name + " is not connected");
  if (sign != ">") return expect(name, peer, sign, text);
  if (text == "close") peer.close();
  else if (text == "reset") peer.reset();
  else if (text.starts_with("stall")) world_.stall(peer, octets_behind(text, "stall"));
  else if (text == "read") world_.read_on(peer);
  else return world_.downstream_sends(number, bytes_of(text));
  world_.settle();
}

void Stage::expect(const std::string& whom, Peer& peer, std::string_view sign, const std::string& text) {
  if (text == "silence") return silence(whom, peer);
  if (text == "close" || text == "reset") {
    silence(whom, peer);
    const Peer::End wanted = text == "close" ? Peer::End::closed : Peer::End::reset;
    if (peer.end() != wanted) throw Mismatch(whom + "'s connection: " + text + " expected");
  } else if (sign == "<~") {
    const std::string got = next_line(whom, peer);
    if (!got.starts_with(text)) throw Mismatch(whom + " got " + visible(got));
  } else if (sign == "<") {
    const std::string wanted = bytes_of(text);
    const std::string got =
        text.starts_with("raw ") || text.starts_with("repeat ") ? peer.take(wanted.size()) : next_line(whom, peer);
    if (got != wanted) throw Mismatch(whom + " got " + (got.empty() ? "nothing" : visible(got)));
  } else {
    throw BadScript("not understood: " + std::string(sign));
  }
}

void Stage::scanner(std::string_view sign, const std::string& text) {
  if (sign == "=" && text == "hang") return world_.scanner.stay_silent();
  if (sign == "=") {
    world_.scanner.report(report_of(text));
    return world_.settle();
  }
  if (sign == "#") {
    if (std::to_string(world_.scanner.seen().size()) != text)
      throw Mismatch("scans: " + std::to_string(world_.scanner.seen().size()));
    return;
  }
  if (world_.scanner.seen().empty()) throw Mismatch("nothing was scanned");
  const std::string& got = world_.scanner.seen().back();
  if (got != bytes_of(text)) throw Mismatch("the scanner saw " + visible(got));
}

void Stage::keeper(std::string_view sign, const std::string& text) {
  if (sign == "=" && text == "hang") return world_.keeper.stay_silent();
  if (sign == "=") {
    world_.keeper.answer(status_of(text));
    return world_.settle();
  }
  if (sign == "content" || sign == "top") {
    const std::string& got = sign == "top" ? world_.keeper.extra_fields : world_.keeper.content;
    if (got != bytes_of(text)) throw Mismatch("the keeper was given " + visible(got));
    return;
  }
  if (world_.keeper.asked.empty()) throw Mismatch("the keeper was not asked");
  const std::string got = world_.keeper.asked.front();
  world_.keeper.asked.pop_front();
  if (got != text) throw Mismatch("the keeper was asked to " + visible(got));
}

void Stage::log(std::string_view sign, const std::string& text) {
  std::string all;
  bool found = false;
  for (const std::string& line : world_.log) {
    all += "\n    log: " + line;
    found = found || line.find(text) != std::string::npos;
  }
  if (found == (sign == "!")) throw Mismatch((found ? "the log says so:" : "the log does not say so:") + all);
}

void Stage::nothing_more() {
  silence("the client", world_.client);
  for (std::size_t number = 1; number <= world_.connector.attempts(); ++number)
    silence("the downstream (connection " + std::to_string(number) + ")", world_.downstream(number));
  if (!world_.keeper.asked.empty())
    throw Mismatch("nobody looked at what the keeper was asked: " + world_.keeper.asked.front());
}

void Stage::obey_who_is_left(const ScriptLine& line, Gone gone) {
  if (is_clock(line)) return clock(line);
  if (line.head == "set" || line.head == "downstream") return;
  const Head head = head_of(line.head);
  const bool plan = line.text == "refuse" || line.text == "hang";
  switch (head.actor) {
    case 'C':
      if (gone != Gone::client && !client_done_ && (head.sign == ">" || head.sign == "+")) client(head.sign, line.text);
      return;
    case 'D':
      if (head.sign != ">") return;
      if (plan || (gone != Gone::downstream && world_.downstream(head.number).talks()))
        downstream(head.number, head.sign, line.text);
      return;
    case 'S':
      if (head.sign == "=") scanner(head.sign, line.text);
      return;
    case 'K':
      if (head.sign == "=") keeper(head.sign, line.text);
      return;
    default:
      return;
  }
}

}  // namespace playbook
