// What the children say to the supervisor.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "config/spoofing.h"
#include "firewall/transparent_socket.h"
#include "proxy/io/transparent_sockets.h"
#include "proxy/supervisor/family.h"

namespace supervisor {
namespace {

using admin::Level;
using scanner::PacketStatus;
using Kind = Message::Kind;

// A complaint that crossed the new sockets on its way is about the former ones. Who still has none, or no answer,
// complains again.
constexpr std::chrono::seconds grace{5};
constexpr std::size_t max_line = 4096;
constexpr unsigned most_heard = 1024;  // of one child at a time: more than its socket holds, less than it could send

}  // namespace

void Family::add_polls(std::vector<pollfd>& polls) const {
  for (const Child* child : {&proxy_, &keeper_, &scanner_, &gate_})
    if (child->control() >= 0)
      polls.push_back({child->control(), static_cast<short>(child->has_unsent() ? POLLIN | POLLOUT : POLLIN), 0});
  for (const Words* words : {&scanner_words_, &gate_words_})
    if (words->fd) polls.push_back({words->fd.get(), POLLIN, 0});
  bans_.add_poll(polls);
  rules_.add_poll(polls);
}

void Family::serve_sockets() {
  for (Child* child : {&proxy_, &keeper_, &scanner_, &gate_}) {
    child->flush();
    hear(*child);
  }
  copy(scanner_words_, false);
  copy(gate_words_, false);
  bans_.hear();
  rules_.hear();
}

void Family::hear(Child& child) {
  std::string packet;
  scanner::OwnedFd fd;
  for (unsigned heard = 0; child.control() >= 0 && heard < most_heard; ++heard) {
    const PacketStatus status = scanner::receive_packet(child.control(), packet, fd);
    if (status == PacketStatus::would_block) return;
    if (status == PacketStatus::closed || status == PacketStatus::failed)
      return child.close_control();  // its death comes by SIGCHLD
    if (status != PacketStatus::ok) continue;
    if (&child == &gate_) hear_gate(packet);
    else if (const auto message = decode(packet)) obey(child, *message);
  }
}

// Whoever speaks may have been taken over.
void Family::obey(Child& child, const Message& message) {
  const bool of_listener = message.kind == Kind::offence || message.kind == Kind::full;
  if (!of_listener && message.index >= loops_) return;
  if (message.kind == Kind::ready && message.text.empty()) {
    child.ready = true;
    if (&child == &proxy_) tell_gate();
  }
  if (message.kind == Kind::ready && message.text == "scanner") greeted_loops_.insert(message.index);
  if (message.kind == Kind::ready && message.text == "keeper") keeping_loops_.insert(message.index);
  if (ready()) ever_ready_ = true;
  if (message.kind == Kind::sockets && &child == &proxy_) send_transparent_sockets(message);
  if (message.kind == Kind::full && &child == &proxy_) note_room(message.index, message.text == "full");
  if (message.kind == Kind::offence && &child == &proxy_) bans_.take(message, Clock::now());
  if (message.kind != Kind::silent || &child != &proxy_) return;
  if (message.text == "scanner") replace(scanner_, to_scanner_);
  if (message.text == "keeper") replace(keeper_, to_keeper_);
}

// As many as can be made; the log hears of the first that cannot. A proxy that takes none gets no more.
void Family::send_transparent_sockets(const Message& wanted) {
  const auto speaks_as_client = [this](const config::Listener& each) {
    return config::spoofs(config_->downstream_of(each), each);
  };
  if (std::ranges::none_of(config_->listeners, speaks_as_client)) return;
  if (wanted.text != "4" && wanted.text != "6") return;
  const Message message{Kind::transparent_sockets, wanted.index, wanted.text};
  if (proxy_.unsent(message) > 1) return;
  std::vector<scanner::OwnedFd> sockets;
  std::expected<int, int> socket = 0;
  while (sockets.size() < io::TransparentSockets::batch) {
    socket = firewall::transparent_socket(wanted.text == "6" ? AF_INET6 : AF_INET);
    if (!socket) break;
    sockets.emplace_back(*socket);
  }
  auto bundle = sockets.empty() ? std::unexpected(socket.error()) : scanner::bundle(sockets);
  if (bundle) proxy_.tell(message, std::move(*bundle));
  const bool failed = !socket || !bundle;
  if (failed && !transparent_failed_)
    say(Level::error, fmt::format("no socket can be made that takes a client's address: {}; a client's mail waits "
                                  "for one, then gets 421", std::strerror(socket ? bundle.error() : socket.error())));
  transparent_failed_ = failed;
}

void Family::replace(Child& child, const Link& link) {
  hear(child);  // closes what a dead one has closed
  if (child.control() < 0 || link.due || Clock::now() - link.made < grace) return;
  say(Level::error, fmt::format("the {} (pid {}) gives no answer and is replaced", child.name(), child.pid()));
  child.signal(SIGKILL);
  child.close_control();  // it is dead: the complaints of the other loops say nothing new
}

bool Family::ready() const {
  const bool keeps = keeper_.ready && keeping_loops_.size() == loops_;
  return proxy_.ready && keeps && (config_->scanners.empty() || scanner_ready() || scanner_failed_) &&
         (!gate_wanted() || gate_.ready || gate_failed_);
}

// Line by line, into our log.
void Family::copy(Words& words, bool to_the_end) {
  char space[4096];
  while (words.fd) {
    const ssize_t n = ::read(words.fd.get(), space, sizeof space);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      // The scanner's workers may hold the other end a little longer than it lives.
      if (n == 0 || errno != EAGAIN || to_the_end) words.fd.reset();
      break;
    }
    words.line.append(space, static_cast<std::size_t>(n));
    for (std::size_t end; (end = words.line.find('\n')) != std::string::npos || words.line.size() > max_line;) {
      end = std::min(end, words.line.size());
      say(Level::info, fmt::format("{}: {}", words.name, words.line.substr(0, end)));
      words.line.erase(0, end + 1);
    }
  }
  if (!words.fd && !words.line.empty())
    say(Level::info, fmt::format("{}: {}", words.name, std::exchange(words.line, {})));
}

}  // namespace supervisor
