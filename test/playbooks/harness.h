// A world for one session: loop, client, downstream connections, scanner, keeper, window and log, all in memory, and a
// clock that moves when the script says so. Everything that is done here ends with the session waiting again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "proxy/session/client_facts.h"
#include "proxy/session/identity.h"
#include "proxy/session/services.h"
#include "proxy/session/withheld_log.h"
#include "test/playbooks/fakes.h"
#include "test/playbooks/memory_stream.h"
#include "test/playbooks/test_loop.h"
#include "test/playbooks/witness.h"

namespace playbook {

// Has room for everybody, and counts nobody; what is to be counted stands in the log.
struct Doorkeeper final : session::Occupancy {
  explicit Doorkeeper(std::vector<std::string>& lines) : log(lines) {}
  bool recount(const sockaddr*, std::string_view&) override { return true; }
  void introduced_unlisted(session::Introducing how, const session::ClientFacts& peer) override;
  void offended(config::Offence, const session::ClientFacts&) override {}
  void passed_on() override {}
  void cut(bool) override {}
  std::vector<std::string>& log;
};

// How bytes travel.
struct Manner {
  bool client_bytewise = false;          // what the client sends arrives octet by octet
  bool downstream_bytewise = false;      // what the downstream sends arrives octet by octet
  std::size_t window = Peer::unlimited;  // octets that a write of the session can place at once
};

class World {
 public:
  explicit World(Manner manner = Manner());
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Before start().
  config::Config config;  // one listener "inbound" on a downstream "mta" with one server
  config::Listener& listener() { return config.listeners.front(); }
  config::Downstream& downstream_settings() { return config.downstreams.at("mta"); }
  bool scans = false;
  bool learns = false;  // about servers, as in the proxy: "auto" is found out, and who relays is not used
  session::Arrival arrival;  // of the client

  // given
  void start();  // the client connects
  bool started() const { return started_; }
  bool session_runs() const { return loop.roots() != 0; }

  // when
  void client_sends(std::string_view bytes);
  void downstream_sends(std::size_t number, std::string_view bytes);
  void settle();
  void pass(io::Duration time);
  void stall(Peer& peer, std::size_t octets);  // it reads no more than `octets`
  void read_on(Peer& peer);
  void reload() { identities_.doubt_all(services_.tls); }  // as HUP does

  // then
  std::size_t messages_downstream() const;  // that came whole, all connections together
  std::size_t handed_over() const;          // these, and those that the keeper was given
  std::size_t accepted_downstream() const;
  DownstreamWitness& downstream_witness(std::size_t number) { return downstream_witnesses_[number]; }
  const std::map<std::size_t, DownstreamWitness>& downstream_witnesses() const { return downstream_witnesses_; }
  // The first rule that was broken, in words; empty when all is well.
  std::string broken_rule() const;
  // Rules for a session that has ended: nothing is left behind; each transaction has one summary line.
  std::string left_behind() const;
  std::string summary_rule() const;

  // Called each time when everything waits; the count begins with 1.
  std::function<void(std::size_t step)> at_step;
  std::size_t steps() const { return steps_; }
  std::size_t octets_sent() const { return octets_sent_; }  // to the session

  TestLoop loop;
  Peer client;
  ClientWitness client_witness;
  FakeConnector connector;
  FakeScanner scanner;
  FakeKeeper keeper;
  FakeInFlight in_flight;
  std::vector<std::string> log;
  std::function<void(std::string_view who, std::string_view bytes)> heard;  // what the session wrote to whom
  Peer& downstream(std::size_t number);

 private:
  void step();
  bool grant_all();
  void watch(std::size_t number);
  std::string message_rule(const DownstreamWitness& witness) const;
  std::string content_rule(std::string content, bool binary) const;
  Manner manner_;
  std::map<std::size_t, DownstreamWitness> downstream_witnesses_;
  std::vector<const Peer*> stalled_;
  Doorkeeper doorkeeper_{log};
  std::optional<io::SpoolSpace> spool_;
  session::Complaints complaints_;
  session::Identities identities_{loop, complaints_};
  session::WithheldSets withheld_sets_;
  session::WithheldLog withheld_{withheld_sets_};
  session::Services services_;
  std::size_t steps_ = 0;
  std::size_t octets_sent_ = 0;
  std::size_t ids_ = 0;
  std::size_t complete_ = 0;  // messages seen by the in-flight rule
  std::string slot_rule_;
  bool started_ = false;
};

}  // namespace playbook
