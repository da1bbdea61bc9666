#include "proxy/keeper/keeper.h"

#include <fmt/format.h>
#include <poll.h>

#include <deque>
#include <list>

#include "proxy/keeper/commit.h"
#include "proxy/supervisor/control.h"

namespace keeper {
namespace {

using scanner::OwnedFd;
using scanner::PacketStatus;

// Copies written before the first fsync: bounds the open files of a batch, and how long its first job waits.
constexpr std::size_t max_copies = 128;
constexpr std::size_t max_peers = 1024;

// The socket of one proxy loop.
struct Peer {
  explicit Peer(OwnedFd fd) : socket(std::move(fd)) {}
  OwnedFd socket;
  std::deque<std::string> answers;  // that the socket had no room for; nothing more is read meanwhile
  bool gone = false;
};

class Keeper {
 public:
  Keeper(const config::Config& config, OwnedFd control, admin::Log& log)
      : control_(std::move(control)), committer_(config.hostname), log_(log) {}

  int run() {
    scanner::send_packet(control_.get(), supervisor::encode({.kind = supervisor::Message::Kind::ready, .text = {}}));
    while (!stop_) {
      wait();
      read_control();
      while (take_and_commit()) {
      }
      peers_.remove_if([](const Peer& peer) { return peer.gone; });
    }
    return 0;
  }

 private:
  void wait();
  void read_control();
  void obey(supervisor::Message::Kind kind, OwnedFd fd);
  bool take_and_commit();
  void read(Peer& peer, std::vector<Job>& jobs, std::vector<Peer*>& origins, std::size_t& copies);
  void take(Peer& peer, std::string_view packet, OwnedFd content, std::vector<Job>& jobs, std::vector<Peer*>& origins);
  void reply(Peer& peer, const Answer& answer);
  static void flush(Peer& peer);

  OwnedFd control_;
  Committer committer_;
  admin::Log& log_;
  std::list<Peer> peers_;
  bool stop_ = false;
};

void Keeper::wait() {
  std::vector<pollfd> polls{{control_.get(), POLLIN, 0}};
  for (const Peer& peer : peers_)
    polls.push_back({peer.socket.get(), static_cast<short>(peer.answers.empty() ? POLLIN : POLLOUT), 0});
  while (::poll(polls.data(), polls.size(), -1) < 0 && errno == EINTR) {
  }
}

// A control socket that closes or breaks means that nobody needs us any more: what has been asked is still finished.
void Keeper::read_control() {
  std::string packet;
  OwnedFd fd;
  while (!stop_) {
    const PacketStatus status = scanner::receive_packet(control_.get(), packet, fd);
    if (status == PacketStatus::would_block) return;
    if (status == PacketStatus::malformed) continue;
    if (status != PacketStatus::ok) stop_ = true;
    else if (const auto message = supervisor::decode(packet)) obey(message->kind, std::move(fd));
  }
}

void Keeper::obey(supervisor::Message::Kind kind, OwnedFd fd) {
  using Kind = supervisor::Message::Kind;
  if (kind == Kind::keeper_socket && fd && peers_.size() < max_peers) peers_.emplace_back(std::move(fd));
  else if (kind == Kind::log_file && fd) log_.reopen(fd.release());
  else if (kind == Kind::drain || kind == Kind::cut) stop_ = true;
}

void Keeper::take(Peer& peer, std::string_view packet, OwnedFd content, std::vector<Job>& jobs,
                  std::vector<Peer*>& origins) {
  auto request = decode_request(packet);
  if (!request) {
    // Without an id there is nothing to answer; the proxy's own timer ends its wait.
    log_.say(0, admin::Level::error, fmt::format("a request from the proxy was not understood: {}", request.error()));
    return;
  }
  if (request->kind == Request::Kind::lookup) {
    reply(peer, Committer::look_up(*request));
  } else if (!content) {
    Answer none;
    none.id = request->id;
    none.detail = "no content came with the job";
    reply(peer, none);
  } else {
    jobs.push_back({std::move(*request), std::move(content)});
    origins.push_back(&peer);
  }
}

// Lookups are answered at once: nobody's RCPT waits for the fsync of somebody's content.
void Keeper::read(Peer& peer, std::vector<Job>& jobs, std::vector<Peer*>& origins, std::size_t& copies) {
  std::string packet;
  OwnedFd content;
  while (!peer.gone && peer.answers.empty() && copies < max_copies) {
    const PacketStatus status = scanner::receive_packet(peer.socket.get(), packet, content);
    if (status == PacketStatus::would_block) return;
    if (status == PacketStatus::closed || status == PacketStatus::failed) peer.gone = true;
    if (status != PacketStatus::ok) continue;
    const std::size_t before = jobs.size();
    take(peer, packet, std::move(content), jobs, origins);
    if (jobs.size() > before) copies += jobs.back().request.recipients.size();
  }
}

// False when nothing was waiting.
bool Keeper::take_and_commit() {
  std::vector<Job> jobs;
  std::vector<Peer*> origins;
  std::size_t copies = 0;
  for (Peer& peer : peers_) {
    flush(peer);
    read(peer, jobs, origins, copies);
  }
  // The next batch begins with somebody else, so that one busy loop does not keep the others waiting.
  if (peers_.size() > 1) peers_.splice(peers_.end(), peers_, peers_.begin());
  if (jobs.empty()) return false;
  const std::vector<Answer> answers = committer_.deliver(jobs);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].status == Answer::Status::full || answers[i].status == Answer::Status::failed)
      log_.say(0, admin::Level::error, answers[i].detail);
    reply(*origins[i], answers[i]);
  }
  return true;
}

void Keeper::reply(Peer& peer, const Answer& answer) {
  peer.answers.push_back(encode(answer));
  flush(peer);
}

void Keeper::flush(Peer& peer) {
  while (!peer.gone && !peer.answers.empty()) {
    const PacketStatus status = scanner::send_packet(peer.socket.get(), peer.answers.front());
    if (status == PacketStatus::would_block) return;
    if (status != PacketStatus::ok) peer.gone = true;
    peer.answers.pop_front();
  }
}

}  // namespace

int run(std::shared_ptr<const config::Config> config, OwnedFd control, admin::Log& log) {
  return Keeper(*config, std::move(control), log).run();
}

}  // namespace keeper
