#include "proxy/io/listener.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io/tcp_stream.h"

namespace io {
namespace {

// One turn accepts a few connections at most, then lets the running sessions work.
constexpr int accepts_per_turn = 16;
constexpr Duration pause_when_starved = std::chrono::milliseconds(500);

// For all that it accepts: what a client says is answered at once, and the answer carries the ACK. By itself the kernel
// learns that after three exchanges, and acknowledges these in packets of their own.
void replies_acknowledge([[maybe_unused]] int socket) {
#ifdef TCP_QUICKACK
  const int off = 0;
  ::setsockopt(socket, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
#endif
}

scanner::OwnedFd open_reserve() { return scanner::OwnedFd(::open("/", O_PATH | O_CLOEXEC)); }

}  // namespace

Listener::Listener(EventLoop& loop, scanner::OwnedFd socket, std::string farewell, Welcome welcome, Starved starved)
    : loop_(loop), socket_(std::move(socket)), reserve_(open_reserve()), farewell_(std::move(farewell)),
      welcome_(std::move(welcome)), starved_(std::move(starved)), scope_(loop) {
  send_without_delay(socket_.get());
  replies_acknowledge(socket_.get());
  watch_.emplace(loop_, socket_.get(), FdWatch::Mode::readable, *this);
}

Listener::~Listener() = default;

void Listener::close() {
  watch_.reset();
  socket_.reset();
}

// Nearly always one waits alone, and asking for a second costs a system call each time; a crowd comes turn after turn.
int Listener::accepts_now() {
  at_once_ = loop_.turn() == last_turn_ + 1 ? std::min(at_once_ * 2, accepts_per_turn) : 1;
  last_turn_ = loop_.turn();
  return at_once_;
}

void Listener::on_ready(FdWatch::Ready) {
  for (int left = accepts_now(); left > 0; --left) {
    Accepted accepted;
    accepted.peer_length = sizeof accepted.peer;
    accepted.socket.reset(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&accepted.peer), &accepted.peer_length,
                                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted.socket) {
      welcome_(std::move(accepted));
      if (!socket_) return;  // closed by the welcome
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      const int error = errno;
      turn_away();
      const std::size_t roots = loop_.roots();
      loop_.spawn(pause_for(pause_when_starved));
      // Otherwise there was no memory to wait, and nothing would end the pause.
      if (loop_.roots() > roots) watch_->pause();
      starved_(error);
      return;
    }
    if (errno == EAGAIN) return;
    // ECONNABORTED and the network errors of accept(2): that connection is gone, the next one may be fine.
  }
}

void Listener::turn_away() {
  if (!reserve_) return;
  reserve_.reset();
  for (int i = 0; i < accepts_per_turn; ++i) {
    const scanner::OwnedFd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) break;
    ::send(client.get(), farewell_.data(), farewell_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  reserve_ = open_reserve();
}

Task<> Listener::pause_for(Duration time) {
  try {
    co_await Wait(scope_, loop_.now() + time);
    while (watch_ && !watch_->resume()) co_await Yield(scope_);  // that needs no memory
  } catch (const Stopped&) {
  }
}

}  // namespace io
