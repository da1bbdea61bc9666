#include "test/playbooks/harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <filesystem>

#include "proxy/session/smtp_session.h"
#include "scanner/job.h"

namespace playbook {
namespace {

sockaddr_storage ipv4(std::uint32_t host, std::uint16_t port) {
  sockaddr_storage storage{};
  auto& address = reinterpret_cast<sockaddr_in&>(storage);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(host);
  return storage;
}

config::Endpoint loopback(std::uint16_t port) {
  config::Endpoint endpoint;
  endpoint.text = "127.0.0.1:" + std::to_string(port);
  endpoint.address = ipv4(INADDR_LOOPBACK, port);
  endpoint.length = sizeof(sockaddr_in);
  return endpoint;
}

config::Config plain_config() {
  config::Config config;
  config.hostname = "gw.example.org";
  config::Listener listener;
  listener.name = "inbound";
  listener.address = loopback(2525);
  listener.downstream = "mta";
  config.listeners.push_back(std::move(listener));
  config::Downstream downstream;
  downstream.name = "mta";
  downstream.servers.push_back(loopback(10026));
  config.downstreams.emplace("mta", std::move(downstream));
  config.spool.directory = std::filesystem::temp_directory_path().string();
  return config;
}

io::Task<> serve(const session::Services& services, const config::Listener& listener,
                 std::unique_ptr<io::Stream> client, const session::Arrival& arrival, io::Loop& loop) {
  session::SmtpSession session(services, listener, std::move(client), arrival, loop);
  co_await session.run();
}

constexpr std::string_view verdict_field = "X-Gatepost-Verdict:";
constexpr std::string_view trace_field = "Received: from ";

}  // namespace

void Doorkeeper::introduced_unlisted(session::Introducing how, const session::ClientFacts& peer) {
  const char* const words[] = {"PROXY", "XCLIENT", "XFORWARD"};
  log.push_back(std::string("not listed for ") + words[static_cast<std::size_t>(how)] + ": " + peer.ip);
}

World::World(Manner manner) : config(plain_config()), manner_(manner) {
  arrival.peer = ipv4(0xC0000207, 40000);  // 192.0.2.7
  arrival.local = ipv4(INADDR_LOOPBACK, 2525);
}

World::~World() { loop.destroy_roots(); }

void World::start() {
  started_ = true;
  if (scans && config.scanners.empty()) config.scanners.emplace_back().name = "clamav";
  spool_.emplace(config.spool.directory, config.spool.memory, config.spool.total_memory,
                 std::string(scanner::synthetic_prefix));
  services_.config = std::make_shared<const config::Config>(config);
  services_.connector = &connector;
  services_.scanner = scans ? &scanner : nullptr;
  services_.keeper = &keeper;
  services_.spool = &*spool_;
  services_.in_flight = &in_flight;
  services_.withheld = &withheld_;
  services_.identities = learns ? &identities_ : nullptr;
  services_.log = [this](admin::Level, admin::Record&& record) { log.push_back(std::move(record).take()); };
  services_.new_trace_id = [this] { return "trace" + std::to_string(++ids_); };
  client.heard = [this](std::string_view bytes) {
    const Inside harness(false);
    if (heard) heard("C", bytes);
    client_witness.client_received(bytes);
  };
  client.set_window(manner_.window);
  if (arrival.occupancy == nullptr) arrival.occupancy = &doorkeeper_;
  downstream(1);
  try {
    const Inside session(true);
    loop.spawn(serve(services_, services_.config->listeners.front(), client.connect("192.0.2.7:40000"), arrival, loop));
  } catch (const std::bad_alloc&) {
    // As in ProxyLoop::welcome(): this client is not served.
  }
  settle();
}

Peer& World::downstream(std::size_t number) {
  Peer& peer = connector.peer(number);
  if (!peer.heard) watch(number);
  return peer;
}

void World::watch(std::size_t number) {
  Peer& peer = connector.peer(number);
  peer.set_window(manner_.window);
  peer.heard = [this, number](std::string_view bytes) {
    const Inside harness(false);
    if (heard) heard("D" + std::to_string(number), bytes);
    downstream_witnesses_[number].downstream_received(bytes);
    const std::size_t complete = messages_downstream();
    if (complete > complete_ && in_flight.open_slots() == 0)
      slot_rule_ = "a final dot went out without a slot in flight";
    complete_ = complete;
  };
}

void World::client_sends(std::string_view bytes) {
  const std::size_t piece = manner_.client_bytewise ? 1 : bytes.size();
  octets_sent_ += bytes.size();
  while (!bytes.empty()) {
    client_witness.client_sent(bytes.substr(0, piece));
    client.send(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    settle();
  }
}

void World::downstream_sends(std::size_t number, std::string_view bytes) {
  const std::size_t piece = manner_.downstream_bytewise ? 1 : bytes.size();
  octets_sent_ += bytes.size();
  Peer& peer = downstream(number);
  while (!bytes.empty()) {
    if (peer.end() == Peer::End::open) downstream_witnesses_[number].downstream_sent(bytes.substr(0, piece));
    peer.send(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    settle();
  }
}

bool World::grant_all() {
  bool more = std::ranges::find(stalled_, &client) == stalled_.end() && client.grant();
  for (std::size_t number = 1; number <= connector.attempts(); ++number) {
    Peer& peer = downstream(number);
    if (std::ranges::find(stalled_, &peer) == stalled_.end() && peer.grant()) more = true;
  }
  return more;
}

void World::settle() {
  downstream(connector.attempts() + 1);  // whoever connects next is watched from his first byte on
  do {
    loop.settle();
    step();
    downstream(connector.attempts() + 1);
  } while (grant_all());
}

void World::step() {
  ++steps_;
  if (at_step) at_step(steps_);
}

void World::pass(io::Duration time) {
  const io::TimePoint until = loop.now() + time;
  settle();
  while (loop.next_due(until)) settle();
  loop.stand_at(until);
}

void World::stall(Peer& peer, std::size_t octets) {
  stalled_.push_back(&peer);
  peer.set_window(octets);
}

void World::read_on(Peer& peer) {
  std::erase(stalled_, &peer);
  peer.set_window(manner_.window);
  settle();
}

std::size_t World::messages_downstream() const {
  std::size_t count = 0;
  for (const auto& [number, witness] : downstream_witnesses_) count += witness.whole();
  return count;
}

std::size_t World::handed_over() const { return messages_downstream() + keeper.deliveries(); }

std::size_t World::accepted_downstream() const {
  std::size_t count = keeper.kept();
  for (const auto& [number, witness] : downstream_witnesses_) count += witness.accepted();
  return count;
}

// T:A2, T:A3: what goes out is canonical, and it is what was scanned, but for the fields that we put on top.
std::string World::content_rule(std::string content, bool binary) const {
  if (!binary && !has_canonical_lines(content)) return "a message went downstream that is not canonical";
  if (!scans) return {};
  const auto was_scanned = [this](const std::string& octets) {
    return std::ranges::find(scanner.seen(), octets) != scanner.seen().end();
  };
  for (const std::string_view field : {trace_field, verdict_field}) {
    if (was_scanned(content)) return {};
    if (!content.starts_with(field)) continue;
    std::size_t end = content.find("\r\n");
    while (end != std::string::npos && content[end + 2] == '\t') end = content.find("\r\n", end + 2);
    if (end != std::string::npos) content.erase(0, end + 2);
  }
  if (content.starts_with("\r\n ") || content.starts_with("\r\n\t")) content.erase(0, 2);  // after our fields (T:A9)
  return was_scanned(content) ? std::string() : "what went downstream is not what was scanned";
}

std::string World::message_rule(const DownstreamWitness& witness) const {
  for (const std::string& wire : witness.messages()) {
    if (!is_canonical(wire)) return "a message went downstream that is not canonical";
    if (std::string broken = content_rule(unstuffed(wire), false); !broken.empty()) return broken;
  }
  for (const DownstreamWitness::Chunked& chunked : witness.chunked())
    if (std::string broken = content_rule(chunked.content, chunked.binary); !broken.empty()) return broken;
  return {};
}

std::string World::broken_rule() const {
  if (client_witness.promised() > accepted_downstream())
    return "the client was promised what the downstream never accepted";
  if (handed_over() > client_witness.finished()) return "a message was handed over that the client had not finished";
  if (!slot_rule_.empty()) return slot_rule_;
  for (const auto& [number, witness] : downstream_witnesses_)
    if (std::string broken = message_rule(witness); !broken.empty()) return broken;
  return {};
}

std::string World::left_behind() const {
  if (loop.roots() != 0) return "the session does not end";
  if (in_flight.open_slots() != 0) return "a slot is still in flight";
  if (scanner.open_jobs() + keeper.open_jobs() != 0) return "a job is still open";
  if (spool_ && spool_->memory_used() != 0) return "the spool still counts memory";
  return {};
}

// Summaries are numbered as the transactions are. How many there were is known from both sides within a margin: the
// client may not have heard all of it, and a connection made anew is told again what was accepted.
std::string World::summary_rule() const {
  std::size_t count = 0, begun_anew = 0;  // the latter: a transaction of the client that was two downstream
  for (const std::string& line : log) {
    if (line.find("event=delivered_before") != std::string::npos) ++begun_anew;
    if (line.find("outcome=") == std::string::npos && line.find("\"outcome\"") == std::string::npos) continue;
    const std::string id = "trace1." + std::to_string(++count);
    if (!line.starts_with(id + ": ") && line.find('"' + id + '"') == std::string::npos)
      return "a summary line out of turn: " + line;
  }
  std::size_t accepted = 0;
  for (const auto& [number, witness] : downstream_witnesses_) accepted += witness.mails_accepted();
  const auto first = downstream_witnesses_.find(1);
  const std::size_t at_first = first == downstream_witnesses_.end() ? 0 : first->second.mails_accepted();
  if (count + begun_anew < std::max(client_witness.mails_accepted() + begun_anew, at_first)) return "a transaction has no summary line";
  if (!config.downstreams.at("mta").servers.empty() && count > accepted) return "a summary line of no transaction";
  return {};
}

}  // namespace playbook
