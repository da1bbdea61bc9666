// What the downstream stores is what the client sent, octet by octet, over thousands of random messages (T:A3, A4, A5):
// where line ends were canonical the same bytes, elsewhere what the model says, and then the log tells it.
#include <doctest/doctest.h>

#include <algorithm>

#include "test/playbooks/random_downstream.h"
#include "test/playbooks/random_message.h"
#include "test/playbooks/script.h"

namespace {

using playbook::Expected;
using playbook::MessageKind;
using playbook::RandomDownstream;
using playbook::World;

constexpr std::size_t messages_in_session = 10;

class Mailing {
 public:
  explicit Mailing(unsigned seed) : random_(seed), world_(manner(seed)), mta_(world_, random_, true) {
    world_.scans = any(2) == 0;
    world_.config.spool.memory = any(3) == 0 ? any(3000) : 100'000;
    world_.listener().nul = any(2) == 0 ? config::Nul::pass : config::Nul::refuse;
    world_.listener().line_ends = any(4) == 0 ? config::LineEnds::refuse : config::LineEnds::normalize;
    kind_.nul = any(2) == 0;
    kind_.odd_line_ends = any(2) == 0;
    kind_.our_field = any(2) == 0;
    way_in_ = any(2) == 0 ? Way::data : Way::bdat;
    way_out_ = any(2) == 0 ? Way::data : Way::bdat;
    mta_.offer_chunking(way_out_ == Way::bdat ? 1000 : way_in_ == Way::bdat ? 1 : 0);
    world_.start();
    say("");
    say("EHLO client.example.com\r\n");
    if (way_in_ == way_out_ || way_out_ == Way::bdat) return;
    // CHUNKING was offered; the server that the messages go to does not have it.
    world_.downstream(1).close();
    world_.settle();
  }

  // Empty, or what is wrong with the message of this number.
  std::string send() {
    std::string message = playbook::random_message(random_, kind_);
    // A bare LF or CR at the end is the end of a line in a chunk; with DATA there stands CRLF behind it.
    const bool odd_end = message.ends_with('\r') || (message.ends_with('\n') && !message.ends_with("\r\n"));
    if (way_in_ == Way::bdat && odd_end) message += 'x';
    const Expected expected = playbook::expected_content(message, world_.scans);
    const std::size_t before = mta_.delivered().size();
    say("MAIL FROM:<anna@example.com>\r\nRCPT TO:<bert@example.net>\r\n");
    if (way_in_ == Way::data) say("DATA\r\n");
    if (const std::string told = say(""); !told.empty()) return "told twice: " + told;
    const std::string answer =
        way_in_ == Way::data ? say_in_pieces(playbook::as_sent(message)) : say_in_chunks(message);
    const bool bare = expected.bare_lf + expected.bare_cr != 0;
    const bool refused_ends = bare && world_.listener().line_ends == config::LineEnds::refuse;
    const bool refused_nul = expected.nul != 0 && world_.listener().nul == config::Nul::refuse;
    if (refused_ends || refused_nul) {
      ++refused_;
      if (mta_.delivered().size() != before) return "a refused message was delivered";
      return answer.starts_with(refused_ends ? "550 5.5.2" : "550 5.6.0") ? "" : "not refused: " + answer;
    }
    if (!answer.starts_with("250 ")) return "answered " + answer;
    if (mta_.delivered().size() != before + 1) return "not delivered once";
    if (mta_.delivered().back().chunked != (way_out_ == Way::bdat)) return "went by the other way";
    const bool identical = !bare && (!world_.scans || !kind_.our_field);
    if (identical && mta_.delivered().back().wire != on_the_wire(with_line_end(message)))
      return "the bytes are not the same";
    return compare(expected);
  }
  std::string end() {
    say("QUIT\r\n");
    world_.pass(std::chrono::minutes(1));
    if (std::string broken = world_.broken_rule(); !broken.empty()) return broken;
    return world_.left_behind() + world_.summary_rule();
  }
  std::size_t delivered() const { return mta_.delivered().size(); }
  std::size_t refused() const { return refused_; }

 private:
  unsigned any(unsigned limit) { return std::uniform_int_distribution<unsigned>(0, limit - 1)(random_); }
  static playbook::Manner manner(unsigned seed) {
    playbook::Manner manner;
    manner.client_bytewise = seed % 11 == 0;
    if (seed % 5 == 0) manner.window = 16 + seed % 7000;
    return manner;
  }

  // What the client is told then.
  std::string say(std::string_view bytes) {
    world_.client_sends(bytes);
    mta_.play();
    return world_.client.take(playbook::Peer::unlimited);
  }
  std::string say_in_pieces(std::string_view bytes) {
    std::string told;
    while (!bytes.empty()) {
      const std::size_t piece = std::min<std::size_t>(bytes.size(), any(4) == 0 ? 1 + any(4) : 1 + any(20000));
      told += say(bytes.substr(0, piece));
      bytes.remove_prefix(piece);
    }
    return told;
  }

  // The last answer; the others are to chunks.
  std::string say_in_chunks(std::string_view message) {
    std::string told;
    do {
      const std::string_view chunk = message.substr(0, any(4) == 0 ? any(4) : any(20000));
      message.remove_prefix(chunk.size());
      const bool last = message.empty() && any(2) == 0;
      told = say_in_pieces("BDAT " + std::to_string(chunk.size()) + (last ? " LAST\r\n" : "\r\n") + std::string(chunk));
      if (last) return told;
    } while (!message.empty());
    return say("BDAT 0 LAST\r\n");
  }
  static std::string with_line_end(std::string message) {
    if (!message.empty() && !message.ends_with("\r\n")) message += "\r\n";
    return message;
  }
  std::string on_the_wire(const std::string& content) const {
    return way_out_ == Way::bdat ? content : playbook::as_sent(content);
  }

  std::string compare(const Expected& expected) {
    const std::string& wire = mta_.delivered().back().wire;
    if (const std::string wanted = on_the_wire(expected.content); wire != wanted) {
      const auto differ = std::ranges::mismatch(wire, wanted).in1 - wire.begin();
      const auto from = static_cast<std::size_t>(std::max<std::ptrdiff_t>(differ - 40, 0));
      return "from octet " + std::to_string(from) + " expected " + playbook::visible(wanted.substr(from)) +
             "\nthe downstream got " + playbook::visible(wire.substr(from));
    }
    if (world_.scans && world_.scanner.seen().back() != expected.content)
      return "the scanner saw " + playbook::visible(world_.scanner.seen().back());
    const std::string& line = world_.log.back();
    const auto noted = [&line](std::string_view what, std::size_t count) {
      const std::string note = std::string(what) + ":" + std::to_string(count);
      return count == 0 ? line.find(std::string(what) + ":") == std::string::npos
                        : line.find(note) != std::string::npos;
    };
    if (!noted("bare_lf", expected.bare_lf) || !noted("bare_cr", expected.bare_cr) || !noted("nul", expected.nul))
      return "the log says something else: " + line;
    return {};
  }

  enum class Way { data, bdat };
  std::mt19937 random_;
  World world_;
  RandomDownstream mta_;
  MessageKind kind_;
  Way way_in_ = Way::data;
  Way way_out_ = Way::data;
  std::size_t refused_ = 0;
};

// Seeds first_seed, first_seed + 1, ...; GATEPOST_SEED=n in the environment plays that one alone.
TEST_CASE("what is stored is what was sent") {
  constexpr unsigned first_seed = 1, sessions = 400;
  const char* only = std::getenv("GATEPOST_SEED");
  const unsigned from = only == nullptr ? first_seed : static_cast<unsigned>(std::stoul(only));
  const unsigned to = only == nullptr ? first_seed + sessions : from + 1;
  std::size_t delivered = 0, refused = 0;
  for (unsigned seed = from; seed < to; ++seed) {
    Mailing mailing(seed);
    std::string wrong;
    for (std::size_t number = 1; number <= messages_in_session && wrong.empty(); ++number) {
      wrong = mailing.send();
      if (!wrong.empty()) wrong += " (message " + std::to_string(number) + ")";
    }
    if (wrong.empty()) wrong = mailing.end();
    CHECK_MESSAGE(wrong.empty(), "seed " << seed << ": " << wrong);
    if (!wrong.empty()) return;
    delivered += mailing.delivered();
    refused += mailing.refused();
  }
  if (only != nullptr) return;
  CHECK(delivered + refused == sessions * messages_in_session);
  CHECK(delivered > 2500);
  CHECK(refused > 100);
}

}  // namespace
