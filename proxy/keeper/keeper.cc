#include "proxy/keeper/keeper.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <ctime>
#include <deque>
#include <list>
#include <memory>

#include "proxy/keeper/commit.h"
#include "proxy/keeper/journal.h"
#include "proxy/supervisor/control.h"

namespace keeper {
namespace {

using scanner::OwnedFd;
using scanner::PacketStatus;

// Copies written before the first fsync: bounds the open files of a batch, and how long its first job waits.
constexpr std::size_t max_copies = 128;
constexpr std::size_t max_waiting = 512;  // jobs, each with a descriptor; past it nothing more is read
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
      : config_(config),
        control_(std::move(control)),
        committer_(config.hostname),
        journal_(config.state_directory + "/journal"),
        log_(log) {}

  int run() {
    scanner::send_packet(control_.get(), supervisor::encode({.kind = supervisor::Message::Kind::ready, .text = {}}));
    while (!stop_) {
      wait();
      read_control();
      read_peers();
      write_journal();
      commit();
      peers_.remove_if([](const std::shared_ptr<Peer>& peer) { return peer->gone; });
    }
    do {
      read_peers();
      write_journal();
    } while (commit() || !notes_.empty());
    return 0;
  }

 private:
  struct Waiting {
    Job job;
    std::shared_ptr<Peer> peer;
  };
  struct Note {
    Request request;  // remember or forget
    std::shared_ptr<Peer> peer;
  };
  void wait();
  void read_control();
  void obey(supervisor::Message::Kind kind, OwnedFd fd);
  void read_peers();
  void read(const std::shared_ptr<Peer>& peer);
  void take(const std::shared_ptr<Peer>& peer, std::string_view packet, OwnedFd content);
  bool is_configured(const Request& request) const;
  void refuse(Peer& peer, const Request& request, std::string why);
  void recall(Peer& peer, const Request& request);
  void write_journal();
  void hear_of_journal(const std::string& failure);
  bool commit();
  static void reply(Peer& peer, const Answer& answer);
  static void flush(Peer& peer);

  const config::Config& config_;
  OwnedFd control_;
  Committer committer_;
  Journal journal_;
  admin::Log& log_;
  std::list<std::shared_ptr<Peer>> peers_;
  std::deque<Waiting> waiting_;
  std::deque<Note> notes_;
  bool stop_ = false;
};

void Keeper::wait() {
  std::vector<pollfd> polls{{control_.get(), POLLIN, 0}};
  for (const auto& peer : peers_)
    polls.push_back({peer->socket.get(), static_cast<short>(peer->answers.empty() ? POLLIN : POLLOUT), 0});
  while (::poll(polls.data(), polls.size(), waiting_.empty() && notes_.empty() ? -1 : 0) < 0 && errno == EINTR) {
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
  if (kind == Kind::keeper_socket && fd && peers_.size() < max_peers)
    peers_.push_back(std::make_shared<Peer>(std::move(fd)));
  else if (kind == Kind::log_file && fd) log_.reopen(fd.release());
  else if (kind == Kind::drain || kind == Kind::cut) stop_ = true;
}

void Keeper::take(const std::shared_ptr<Peer>& peer, std::string_view packet, OwnedFd content) {
  auto request = decode_request(packet);
  if (!request) {
    // Without an id there is nothing to answer; the proxy's own timer ends its wait.
    log_.say(0, admin::Level::error, fmt::format("a request from the proxy was not understood: {}", request.error()));
    return;
  }
  if (!request->of_journal() && !is_configured(*request)) {
    log_.say(0, admin::Level::error,
             fmt::format("the proxy asks for a path that no downstream has: {}", request->path));
    refuse(*peer, *request, "no downstream has this path");
  } else if (request->kind == Request::Kind::lookup) {
    reply(*peer, Committer::look_up(*request));
  } else if (request->kind == Request::Kind::recall) {
    recall(*peer, *request);
  } else if (request->of_journal()) {
    notes_.push_back({std::move(*request), peer});
  } else if (!content) {
    refuse(*peer, *request, "no content came with the job");
  } else {
    waiting_.push_back({{std::move(*request), std::move(content)}, peer});
  }
}

// A proxy that somebody has taken over says what it likes: mail goes where the configuration says and nowhere else.
bool Keeper::is_configured(const Request& request) const {
  return std::ranges::any_of(config_.downstreams, [&](const auto& each) {
    return each.second.path == request.path && each.second.create == request.create;
  });
}

void Keeper::refuse(Peer& peer, const Request& request, std::string why) {
  Answer answer;
  answer.id = request.id;
  answer.detail = std::move(why);
  reply(peer, answer);
}

void Keeper::read(const std::shared_ptr<Peer>& peer) {
  std::string packet;
  OwnedFd content;
  while (!peer->gone && peer->answers.empty() && waiting_.size() + notes_.size() < max_waiting) {
    const PacketStatus status = scanner::receive_packet(peer->socket.get(), packet, content);
    if (status == PacketStatus::would_block) return;
    if (status == PacketStatus::closed || status == PacketStatus::failed) peer->gone = true;
    if (status == PacketStatus::ok) take(peer, packet, std::move(content));
  }
}

// Lookups are answered at once, and so after one fsync of a batch at the latest; jobs wait for the next batch.
void Keeper::read_peers() {
  for (const auto& peer : peers_) {
    flush(*peer);
    read(peer);
  }
  // The next round begins with somebody else, so that one busy loop does not keep the others waiting.
  if (peers_.size() > 1) peers_.splice(peers_.end(), peers_, peers_.begin());
}

void Keeper::recall(Peer& peer, const Request& request) {
  Answer answer;
  answer.id = request.id;
  answer.status = Answer::Status::kept;
  std::string_view keys = request.keys;
  for (; !keys.empty() && answer.status == Answer::Status::kept; keys.remove_prefix(key_octets)) {
    const auto known = journal_.knows(keys.substr(0, key_octets), std::time(nullptr));
    if (known) {
      answer.known += *known ? '1' : '0';
    } else {
      answer.status = Answer::Status::failed;
      answer.detail = known.error();
    }
  }
  hear_of_journal(answer.detail);
  reply(peer, answer);
}

// All notes that wait, with one fsync per kind.
void Keeper::write_journal() {
  for (const auto kind : {Request::Kind::remember, Request::Kind::forget}) {
    std::string keys;
    for (const Note& note : notes_)
      if (note.request.kind == kind) keys += note.request.keys;
    if (keys.empty()) continue;
    const std::int64_t now = std::time(nullptr);
    const auto done = kind == Request::Kind::remember ? journal_.remember(keys, now) : journal_.forget(keys, now);
    hear_of_journal(done ? std::string() : done.error());
    for (const Note& note : notes_) {
      if (note.request.kind != kind) continue;
      Answer answer;
      answer.id = note.request.id;
      answer.status = done ? Answer::Status::kept : Answer::Status::failed;
      if (!done) answer.detail = done.error();
      reply(*note.peer, answer);
    }
  }
  notes_.clear();
}

void Keeper::hear_of_journal(const std::string& failure) {
  if (const std::string notice = journal_.take_notice(); !notice.empty()) log_.say(0, admin::Level::warning, notice);
  if (!failure.empty()) log_.say(0, admin::Level::error, failure);
}

// False when nothing was waiting.
bool Keeper::commit() {
  std::vector<Job> jobs;
  std::vector<std::shared_ptr<Peer>> origins;
  for (std::size_t copies = 0; !waiting_.empty() && copies < max_copies; waiting_.pop_front()) {
    Waiting& next = waiting_.front();
    copies += next.job.request.recipients.size();
    jobs.push_back(std::move(next.job));
    origins.push_back(std::move(next.peer));
  }
  if (jobs.empty()) return false;
  const std::vector<Answer> answers = committer_.deliver(jobs, [this] { read_peers(); });
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
