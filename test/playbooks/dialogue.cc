#include "test/playbooks/dialogue.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>
#include <map>

#include "test/playbooks/settings_of_script.h"
#include "test/playbooks/starvation.h"

namespace playbook {
namespace {

// The session did not do what the file says.
struct Mismatch {
  std::string what;
};
struct Struck {};

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

class Stage {
 public:
  Stage(const Script& script, const Play& play) : script_(script), play_(play), world_(play.manner) {}

  Outcome perform() {
    Outcome outcome;
    if (play_.blow == Blow::starve) Starvation::begin(play_.blow_at);
    try {
      speak();
      outcome.failure = world_.broken_rule();
      if (outcome.failure.empty()) outcome.failure = finale();
    } catch (const Mismatch& mismatch) {
      outcome.failure = mismatch.what;
    } catch (const BadScript& bad) {
      outcome.failure = std::string("the file: ") + bad.what();
    } catch (const Struck&) {
      outcome.struck = true;
      outcome.failure = aftermath();
    }
    if (Starvation::failed) {  // the rest of the dialogue is not what the file says any more
      outcome.struck = true;
      outcome.failure = finale();
    }
    if (!outcome.failure.empty()) outcome.failure = script_.name + ", " + place_ + ": " + outcome.failure;
    outcome.transcript = std::move(transcript_);
    outcome.steps = world_.steps();
    outcome.octets = octets_;
    return outcome;
  }

 private:
  void speak() {
    world_.scans = script_.scans;
    world_.heard = [this](std::string_view who, std::string_view bytes) {
      octets_ += bytes.size();
      tell("    " + std::string(who) + " got", bytes);
    };
    world_.at_step = [this](std::size_t step) {
      if (play_.blow == Blow::none || play_.blow == Blow::starve || step != play_.blow_at) return;
      strike();
    };
    for (const ScriptLine& line : script_.lines) {
      place_ = line.place;
      transcript_ +=
          place_ + "  " + line.head + " " + (line.text.size() > 200 ? line.text.substr(0, 200) : line.text) + "\n";
      obey(line);
    }
    place_ += " (end of the file)";
    nothing_more("the client", world_.client);
    for (std::size_t number = 1; number <= world_.connector.attempts(); ++number)
      nothing_more("the downstream (connection " + std::to_string(number) + ")", world_.downstream(number));
    if (!world_.keeper.asked.empty())
      throw Mismatch("nobody looked at what the keeper was asked: " + world_.keeper.asked.front());
  }

  void strike() {
    world_.at_step = nullptr;
    complete_before_ = world_.messages_downstream();
    tell("    the session is", play_.blow == Blow::stop ? "stopped" : "destroyed");
    if (play_.blow == Blow::destroy) {
      world_.loop.destroy_roots();
    } else {
      world_.loop.stop_all();
      world_.settle();
    }
    throw Struck();
  }

  // After a stop or the end of the process nothing may look like success that is none.
  std::string aftermath() {
    if (world_.messages_downstream() != complete_before_) return "a final dot went out after the stop";
    if (std::string broken = world_.broken_rule(); !broken.empty()) return broken;
    return world_.left_behind();
  }

  // The client goes, and so does the session.
  std::string finale() {
    if (!world_.started()) return "the dialogue has no line";
    if (world_.session_runs() && !client_done_) world_.client.finish();
    world_.pass(std::chrono::minutes(10));
    if (std::string broken = world_.broken_rule(); !broken.empty()) return broken;
    return world_.left_behind();
  }

  void nothing_more(const std::string& whom, const Peer& peer) const {
    if (!peer.received().empty()) throw Mismatch(whom + " got what the file does not say: " + visible(peer.received()));
  }

  void tell(const std::string& what, std::string_view bytes) { transcript_ += what + " " + visible(bytes) + "\n"; }

  void obey(const ScriptLine& line) {
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
    if (line.head == "wait") return world_.pass(duration_of(line.text));
    if (line.head == "drain") return drain();
    if (line.head == "stop") return stop();
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

  void drain() {
    world_.loop.drain();
    world_.settle();
  }

  void stop() {
    world_.loop.stop_all();
    world_.settle();
  }

  void client(std::string_view sign, const std::string& text) {
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

  void downstream(std::size_t number, std::string_view sign, const std::string& text) {
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

  void expect(const std::string& whom, Peer& peer, std::string_view sign, const std::string& text) {
    if (text == "silence") return nothing_more(whom, peer);
    if (text == "close" || text == "reset") {
      nothing_more(whom, peer);
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

  static std::string next_line(const std::string& whom, Peer& peer) {
    const std::size_t end = peer.received().find('\n');
    if (end == std::string::npos)
      throw Mismatch(whom + " got no complete line" +
                     (peer.received().empty() ? "" : " but " + visible(peer.received())));
    return peer.take(end + 1);
  }

  void scanner(std::string_view sign, const std::string& text) {
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

  void keeper(std::string_view sign, const std::string& text) {
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

  void log(std::string_view sign, const std::string& text) {
    std::string all;
    bool found = false;
    for (const std::string& line : world_.log) {
      all += "\n    log: " + line;
      found = found || line.find(text) != std::string::npos;
    }
    if (found == (sign == "!")) throw Mismatch((found ? "the log says so:" : "the log does not say so:") + all);
  }

  const Script& script_;
  const Play& play_;
  World world_;
  std::string place_;
  std::string transcript_;
  std::string group_;  // of the client, not sent yet
  std::size_t complete_before_ = 0;
  std::size_t octets_ = 0;
  bool client_done_ = false;
};

}  // namespace

Outcome run(const Script& script, const Play& play) { return Stage(script, play).perform(); }

}  // namespace playbook
