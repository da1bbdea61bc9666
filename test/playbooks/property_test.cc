// Random sessions against a small model of what a client may believe (T:B7).
#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

#include "test/playbooks/random_downstream.h"
#include "test/playbooks/script.h"

namespace {

using playbook::BelievedEnvelope;
using playbook::RandomDownstream;
using playbook::World;

// What the client believes after each reply.
struct Model {
  bool greeted = false;
  bool chunking = false;  // the server offers it
  BelievedEnvelope envelope;
  std::string content;  // of the chunks so far
  bool chunks = false;  // one was accepted
  bool failed = false;  // one was refused

  // Empty, or why this reply to this command is wrong. `behind_mail`: a MAIL stands in front of it in the same group;
  // when that was refused or lost, the downstream's answer to RCPT may be any refusal.
  std::string take(const std::string& command, int code, bool behind_mail) {
    const bool ok = code / 100 == 2;
    const bool in_transaction = !envelope.mail.empty();
    if (const auto chunk = playbook::chunk_size(command)) return take_chunk(*chunk, code);
    if ((chunks || failed) && (command == "DATA" || command.starts_with("RCPT")) && code != 503)
      return "between chunks: " + command;
    if ((chunks || failed) && command == "DATA") return {};
    if (command.starts_with("RCPT") && !in_transaction && (ok || (!behind_mail && code != 503)))
      return "RCPT without a transaction";
    if (command == "DATA" && !in_transaction && code != 503) return "DATA without a transaction";
    if (command == "DATA" && in_transaction && envelope.recipients.empty() && code != 554)
      return "DATA without recipients";
    if (command == "DATA" && !envelope.recipients.empty() && code != 354) return "no 354 for a good transaction";
    if (command.starts_with("MAIL") && (in_transaction || !greeted) && code != 503) return "MAIL at the wrong time";
    if (command == "RSET" && code != 250) return "RSET refused";
    if (command == "RSET" || command.starts_with("EHLO")) end();
    if (command.starts_with("EHLO") && ok) greeted = true;
    if (command.starts_with("MAIL") && ok) envelope.mail = command.substr(5);
    if (command.starts_with("RCPT") && ok) envelope.recipients.push_back(command.substr(5));
    return {};
  }

  // The last one of a transaction that stands is taken apart: its reply is the downstream's.
  std::string take_chunk(playbook::ChunkSize chunk, int code) {
    const bool in_transaction = !envelope.mail.empty();
    const int refusal = !greeted || !chunking         ? 502
                        : !in_transaction || failed   ? 503
                        : envelope.recipients.empty() ? 554
                                                      : 0;
    if (refusal != 0) {
      failed = failed || in_transaction;
      return code == refusal ? "" : "a chunk was to be refused with " + std::to_string(refusal);
    }
    if (chunk.last) return {};
    chunks = true;
    return code == 250 ? "" : "a good chunk was refused";
  }
  bool takes_chunks() const { return greeted && chunking && !failed && !envelope.recipients.empty(); }
  void end() {
    envelope = BelievedEnvelope();
    content.clear();
    chunks = failed = false;
  }
};

class RandomSession {
 public:
  RandomSession(unsigned seed, playbook::Manner manner) : random_(seed), world_(manner), downstream_(world_, random_) {
    world_.scans = seed % 2 == 0;
    world_.listener().max_errors = 1000000;
    world_.listener().max_junk = 1000000;
    world_.config.spool.memory = seed % 3 == 0 ? 10 : 10000;
    model_.chunking = seed % 5 < 3;
    downstream_.offer_chunking(model_.chunking ? 1000 : 0);
    world_.start();
    downstream_.play();
    replies();
  }

  // Empty, or what went wrong.
  std::string play(unsigned groups) {
    while (groups-- > 0 && wrong_.empty()) {
      send_group();
      if (wrong_.empty()) wrong_ = world_.broken_rule();
      if (wrong_.empty()) wrong_ = downstream_.scandal();
    }
    world_.client.finish();
    world_.pass(std::chrono::minutes(5));
    return wrong_.empty() ? world_.left_behind() : wrong_ + "\n" + story_;
  }
  std::size_t delivered() const { return downstream_.delivered().size(); }
  std::size_t transactions() const { return transactions_; }
  std::size_t summaries() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        world_.log, [](const std::string& line) { return line.find("outcome=") != std::string::npos; }));
  }

 private:
  unsigned any(unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random_); }

  std::string random_command(bool& mail_asked) {
    const std::string number = std::to_string(++commands_);
    switch (any(15)) {
      case 0:
        return "EHLO client" + number + ".example.com";
      case 1:
      case 2:
        mail_asked = false;
        return "RSET";
      case 3:
      case 4:
      case 5:
        if (mail_asked) return "NOOP";
        mail_asked = true;
        return "MAIL FROM:<m" + number + "@example.com>";
      case 6:
      case 7:
      case 8:
        return "RCPT TO:<r" + number + "@example.net>";
      case 9:
        return any(2) == 0 ? "VRFY x" : "FOO";
      case 10:
      case 11:
        return "BDAT " + std::to_string(any(40));
      case 12:
        return "BDAT " + std::to_string(any(40)) + " LAST";
      default:
        return "DATA";
    }
  }

  // What stands behind a BDAT; looks like commands, sometimes.
  std::string chunk_of(const std::string& command) {
    const auto chunk = playbook::chunk_size(command);
    if (!chunk) return {};
    std::string octets;
    while (octets.size() < chunk->octets) octets += any(3) == 0 ? "\r\nQUIT\r\n" : "x";
    octets.resize(chunk->octets);
    if (octets.ends_with('\r')) octets.back() = 'x';
    return octets;
  }

  // The complete replies that came, as codes.
  std::vector<int> replies() {
    std::vector<int> codes;
    while (true) {
      const std::size_t end = world_.client.received().find("\r\n");
      if (end == std::string::npos) return codes;
      const std::string line = world_.client.take(end + 2);
      story_ += "  S: " + line;
      if (line[3] == ' ') codes.push_back(std::stoi(line));
    }
  }

  void send_group() {
    // DATA and EHLO end a group (RFC 2920 3.1); the last chunk does so here, to look at what becomes of it.
    std::vector<std::string> group, octets;
    bool mail_asked = false;
    const unsigned size = 1 + any(5);
    const auto ends = [](const std::string& command) {
      return command == "DATA" || command.starts_with("EHLO") || command.ends_with("LAST");
    };
    std::string bytes;
    while (group.size() < size && (group.empty() || !ends(group.back()))) {
      group.push_back(random_command(mail_asked));
      octets.push_back(chunk_of(group.back()));
      bytes += group.back() + "\r\n" + octets.back();
    }
    story_ += "C: " + playbook::visible(bytes) + "\n";
    const std::size_t before = delivered();
    const bool infects = any(4) == 0;
    if (world_.scans && group.back().ends_with("LAST")) world_.scanner.stay_silent();
    world_.client_sends(bytes);
    downstream_.play();
    world_.scanner.forget_plans();  // of a chunk that was refused
    if (world_.scanner.open_jobs() != 0) {
      world_.scanner.report(infects ? infected() : scanner::Report());
      world_.settle();
      downstream_.play();
    }
    const std::vector<int> codes = replies();
    if (codes.size() != group.size()) {
      wrong_ = "commands and replies differ in number";
      return;
    }
    bool behind_mail = false;
    for (std::size_t i = 0; i < group.size() && wrong_.empty(); ++i) {
      wrong_ = model_.take(group[i], codes[i], behind_mail);
      behind_mail = behind_mail || group[i].starts_with("MAIL");
      if (group[i].starts_with("MAIL") && codes[i] == 250) ++transactions_;
      if (!group[i].starts_with("BDAT") || !model_.takes_chunks()) continue;
      model_.content += octets[i];
      if (group[i].ends_with("LAST")) judge(codes[i], world_.scans && infects, before);
    }
    if (wrong_.empty() && group.back() == "DATA" && codes.back() == 354) send_content();
  }

  void send_content() {
    const std::string content =
        "Subject: " + std::to_string(commands_) + "\r\n\r\n" + std::string(any(40), 'x') + "\r\n";
    const bool refused = world_.scans && any(4) == 0;
    if (world_.scans) world_.scanner.report(refused ? infected() : scanner::Report());
    const std::size_t before = delivered();
    story_ += "C: content\n";
    world_.client_sends(content + ".\r\n");
    downstream_.play();
    const std::vector<int> codes = replies();
    if (codes.size() != 1) {
      wrong_ = "no single reply to the end of data";
      return;
    }
    model_.content = content;
    judge(codes.front(), refused, before);
  }

  // The end of a message: what was answered is what happened.
  void judge(int code, bool refused, std::size_t before) {
    std::string content = std::exchange(model_.content, {});
    if (!content.empty() && !content.ends_with("\r\n")) content += "\r\n";
    const BelievedEnvelope envelope = std::exchange(model_.envelope, {});
    model_.end();
    if (code == 250 && delivered() != before + 1) wrong_ = "250 without a delivery";
    else if (refused && delivered() != before) wrong_ = "an infected message was delivered";
    if (delivered() == before || !wrong_.empty()) return;
    const RandomDownstream::Delivered& last = downstream_.delivered().back();
    if (last.envelope != envelope) wrong_ = "the downstream believes in another envelope";
    else if (last.wire != (last.chunked ? content : content + ".\r\n")) wrong_ = "the downstream has another content";
    else if (last.accepted != (code == 250)) wrong_ = "the downstream's answer is not ours";
  }

  static scanner::Report infected() {
    scanner::Finding finding;
    finding.outcome = scanner::Outcome::infected;
    finding.name = "Eicar";
    scanner::Report report;
    report.findings.push_back(std::move(finding));
    return report;
  }

  std::mt19937 random_;
  World world_;
  RandomDownstream downstream_;
  Model model_;
  unsigned commands_ = 0;
  std::size_t transactions_ = 0;
  std::string wrong_;
  std::string story_;
};

void play_many(playbook::Manner manner, unsigned first_seed, unsigned count) {
  std::size_t delivered = 0;
  for (unsigned seed = first_seed; seed < first_seed + count; ++seed) {
    RandomSession session(seed, manner);
    const std::string wrong = session.play(90);
    CHECK_MESSAGE(wrong.empty(), "seed " << seed << ": " << wrong);
    CHECK_MESSAGE(session.summaries() == session.transactions(), "seed " << seed << ": a summary line per transaction");
    delivered += session.delivered();
    if (!wrong.empty()) return;
  }
  CHECK(delivered > count);  // the sessions are not all noise
}

TEST_CASE("random commands: one reply each, no transaction that nobody opened") {
  SUBCASE("whole groups") { play_many(playbook::Manner(), 1, 800); }
  SUBCASE("octet by octet") {
    playbook::Manner manner;
    manner.client_bytewise = manner.downstream_bytewise = true;
    play_many(manner, 10001, 60);
  }
  SUBCASE("slow readers") {
    playbook::Manner manner;
    manner.window = 16;
    play_many(manner, 20001, 150);
  }
}

}  // namespace
