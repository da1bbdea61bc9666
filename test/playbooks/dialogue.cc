#include "test/playbooks/dialogue.h"

#include <optional>
#include <random>

#include "test/playbooks/random_downstream.h"
#include "test/playbooks/stage.h"
#include "test/playbooks/starvation.h"

namespace playbook {
namespace {

struct Struck {};

// Longer than every deadline that a session may have once somebody has vanished.
constexpr io::Duration long_enough = std::chrono::minutes(10);

class Performance {
 public:
  Performance(const Script& script, const Play& play)
      : script_(script), play_(play), stage_(play.manner), world_(stage_.world()), kind_(world_, random_, true) {
    kind_.offer_chunking(1000);
  }

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
      outcome.failure = peer_vanishes() ? play_on() : aftermath();
    }
    if (Starvation::failed) {  // the rest of the dialogue is not what the file says any more
      outcome.struck = true;
      outcome.failure = finale();
    }
    if (!outcome.failure.empty()) outcome.failure = script_.name + ", " + place_ + ": " + outcome.failure;
    outcome.transcript = std::move(transcript_);
    outcome.steps = world_.steps();
    outcome.octets = octets_ + world_.octets_sent();
    return outcome;
  }

 private:
  bool client_vanishes() const { return play_.blow == Blow::client_reset || play_.blow == Blow::client_close; }
  bool downstream_vanishes() const {
    return play_.blow == Blow::downstream_reset || play_.blow == Blow::downstream_close;
  }
  bool peer_vanishes() const { return client_vanishes() || downstream_vanishes(); }

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
    for (next_ = 0; next_ < script_.lines.size();) {
      const ScriptLine& line = script_.lines[next_++];
      name(line);
      stage_.obey(line);
    }
    place_ += " (end of the file)";
    stage_.nothing_more();
  }

  void strike() {
    world_.at_step = nullptr;
    handed_over_before_ = world_.handed_over();
    if (play_.blow == Blow::destroy) {
      tell("    the session is", "destroyed");
      world_.loop.destroy_roots();
    } else if (play_.blow == Blow::stop) {
      tell("    the session is", "stopped");
      world_.loop.stop_all();
    } else {
      Peer* const peer = victim();
      if (peer == nullptr) return;
      const bool heard_out = world_.listener().half_close == config::HalfClose::finish || world_.client_witness.quits();
      client_is_gone_ = play_.blow == Blow::client_reset || (play_.blow == Blow::client_close && !heard_out);
      tell(client_vanishes() ? "    the client" : "    the downstream", "vanishes");
      if (play_.blow == Blow::client_close) peer->finish();
      else if (play_.blow == Blow::downstream_close) peer->close();
      else peer->reset();
    }
    world_.settle();
    throw Struck();
  }

  // Whom the blow hits, nullptr: there is nobody.
  Peer* victim() {
    const auto is_there = [](const Peer& peer) { return peer.talks() && peer.end() == Peer::End::open; };
    if (client_vanishes()) return is_there(world_.client) ? &world_.client : nullptr;
    for (std::size_t number = world_.connector.attempts(); number > 0; --number)
      if (Peer& peer = world_.downstream(number); is_there(peer)) return &peer;
    return nullptr;
  }

  // After a stop or the end of the process nothing may look like success that is none.
  std::string aftermath() {
    if (world_.handed_over() != handed_over_before_) return "a message was handed over after the stop";
    if (std::string broken = world_.broken_rule(); !broken.empty()) return broken;
    if (std::string broken = world_.left_behind(); !broken.empty() || play_.blow == Blow::destroy) return broken;
    return world_.summary_rule();
  }

  // Those who are still there do what the file lets them do; connections that the session makes anew are served well.
  std::string play_on() {
    if (downstream_vanishes()) serve_from_ = world_.connector.attempts() + 1;
    while (next_ < script_.lines.size()) {
      const ScriptLine& line = script_.lines[next_++];
      name(line);
      stage_.obey_who_is_left(line, client_vanishes() ? Stage::Gone::client : Stage::Gone::downstream);
      serve();
    }
    place_ += " (played on to its end)";
    if (client_is_gone_ && world_.handed_over() != handed_over_before_)
      return "a message was handed over for a client that was gone";
    if (downstream_vanishes()) pass(long_enough);
    return finale();
  }

  // The client goes, and so does the session.
  std::string finale() {
    if (!world_.started()) return "the dialogue has no line";
    if (world_.session_runs() && !stage_.client_done() && world_.client.talks()) world_.client.finish();
    pass(long_enough);
    if (std::string broken = world_.broken_rule(); !broken.empty()) return broken;
    if (std::string broken = world_.left_behind(); !broken.empty() || Starvation::failed) return broken;
    return world_.summary_rule();
  }

  void pass(io::Duration time) {
    constexpr io::Duration piece = std::chrono::seconds(20);
    for (; serve_from_ != 0 && time > piece; time -= piece) {
      world_.pass(piece);
      serve();
    }
    world_.pass(time);
  }
  void serve() {
    if (serve_from_ != 0) kind_.play(serve_from_);
  }

  void name(const ScriptLine& line) {
    place_ = line.place;
    transcript_ +=
        place_ + "  " + line.head + " " + (line.text.size() > 200 ? line.text.substr(0, 200) : line.text) + "\n";
  }
  void tell(const std::string& what, std::string_view bytes) { transcript_ += what + " " + visible(bytes) + "\n"; }

  const Script& script_;
  const Play& play_;
  Stage stage_;
  World& world_;
  std::mt19937 random_;
  RandomDownstream kind_;
  std::string place_;
  std::string transcript_;
  std::size_t next_ = 0;        // line of the file
  std::size_t serve_from_ = 0;  // the first connection that kind_ plays; 0 = none
  std::size_t handed_over_before_ = 0;
  std::size_t octets_ = 0;
  bool client_is_gone_ = false;  // and nobody may take it for one that only has nothing more to say
};

}  // namespace

Outcome run(const Script& script, const Play& play) { return Performance(script, play).perform(); }

}  // namespace playbook
