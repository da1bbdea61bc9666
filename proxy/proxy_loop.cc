#include "proxy/proxy_loop.h"

#include <sys/random.h>
#include <cstring>
#include <exception>

#include "proxy/io/tcp_stream.h"
#include "proxy/session/smtp_session.h"
#include "proxy/supervisor/control.h"
#include "scanner/job.h"

namespace {

constexpr std::string_view too_many = "421 4.3.2 Too many connections, please try again later\r\n";

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    seed = static_cast<std::uint64_t>(::time(nullptr));
  return seed;
}

}  // namespace

ProxyShared::ProxyShared(const ProxyStart& start, std::size_t loops)
    : config(start.config),
      control(start.control.get()),
      window(start.window),
      log(start.config->log, "gatepost/proxy", start.log_file, static_cast<unsigned>(loops) + 1),
      spool(start.config->spool.directory, start.config->spool.memory, start.config->spool.total_memory,
            std::string(scanner::synthetic_prefix)),
      sessions(start.config->listeners.size()) {}

// Control messages for this loop.
class ProxyLoop::Inbox final : public io::FdWatch::Owner {
 public:
  Inbox(ProxyLoop& owner, scanner::OwnedFd socket)
      : owner_(owner),
        socket_(std::move(socket)),
        watch_(owner.loop_, socket_.get(), io::FdWatch::Mode::readable, *this) {}

 private:
  void on_ready(io::FdWatch::Ready) override {
    std::string packet;
    scanner::OwnedFd fd;
    const auto status = scanner::receive_packet(socket_.get(), packet, fd);
    if (status == scanner::PacketStatus::ok) owner_.obey(packet, std::move(fd));
    else if (status == scanner::PacketStatus::closed || status == scanner::PacketStatus::failed) owner_.drain(true);
  }
  ProxyLoop& owner_;
  scanner::OwnedFd socket_;
  io::FdWatch watch_;
};

ProxyLoop::ProxyLoop(ProxyShared& shared, unsigned index, std::vector<scanner::OwnedFd> listeners,
                     scanner::OwnedFd inbox)
    : shared_(shared), index_(index), connector_(loop_), keeper_(loop_), random_(random_seed()) {
  const auto& config = *shared_.config;
  if (!config.scanners.empty())
    scanner_.emplace(
        loop_, config.scanners.front().name, [this] { tell(supervisor::Message::Kind::ready, "scanner"); },
        [this] { tell(supervisor::Message::Kind::silent, "scanner"); });
  services_.config = shared_.config;
  services_.connector = &connector_;
  services_.scanner = scanner_ ? &*scanner_ : nullptr;
  services_.keeper = &keeper_;
  services_.spool = &shared_.spool;
  services_.in_flight = this;
  services_.log = [this](admin::Level level, admin::Record&& record) {
    shared_.log.write(index_ + 1, level, std::move(record));
  };
  services_.new_trace_id = [this] { return new_trace_id(); };
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    const auto starved = [this, i](int error) {
      shared_.log.say(index_ + 1, admin::Level::warning,
                      "listener " + shared_.config->listeners[i].name + " pauses: " + std::strerror(error) +
                          " (raise the limit of open files: LimitNOFILE= or ulimit -n)");
    };
    listeners_.push_back(std::make_unique<io::Listener>(
        loop_, std::move(listeners[i]), std::string(too_many),
        [this, i](io::Accepted accepted) { welcome(i, std::move(accepted)); }, starved));
  }
  inbox_ = std::make_unique<Inbox>(*this, std::move(inbox));
}

ProxyLoop::~ProxyLoop() { loop_.destroy_roots(); }

void ProxyLoop::run() { loop_.run(); }

void ProxyLoop::welcome(std::size_t listener, io::Accepted accepted) {
  const int socket = accepted.socket.get();
  if (shared_.sessions[listener].load() >= shared_.config->listeners[listener].max_sessions) {
    ::send(socket, too_many.data(), too_many.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  try {
    const auto* peer = reinterpret_cast<const sockaddr*>(&accepted.peer);
    std::string ip = io::format_ip(peer);
    auto client = std::make_unique<io::TcpStream>(loop_, std::move(accepted.socket), peer, accepted.peer_length);
    loop_.spawn(serve_client(listener, std::move(client), std::move(ip)));
  } catch (const std::exception& error) {
    // No memory for one session more: this client is closed, the others live.
    shared_.log.say(index_ + 1, admin::Level::error, std::string("a client cannot be served: ") + error.what());
  }
}

// Counts a session as long as its frame lives, however it ends.
class ProxyLoop::Seat {
 public:
  Seat(ProxyLoop& owner, std::size_t listener) : owner_(owner), listener_(listener) {
    ++owner_.sessions_;
    ++owner_.shared_.sessions[listener_];
  }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  ~Seat() {
    --owner_.shared_.sessions[listener_];
    --owner_.sessions_;
    if (owner_.loop_.draining() && owner_.sessions_ == 0) owner_.loop_.quit();
  }

 private:
  ProxyLoop& owner_;
  std::size_t listener_;
};

io::Task<> ProxyLoop::serve_client(std::size_t listener, std::unique_ptr<io::Stream> client, std::string client_ip) {
  const Seat seat(*this, listener);
  session::SmtpSession session(services_, shared_.config->listeners[listener], std::move(client), std::move(client_ip),
                               loop_);
  co_await session.run();
}

void ProxyLoop::obey(std::string_view packet, scanner::OwnedFd fd) {
  const auto message = supervisor::decode(packet);
  if (!message) return;
  using Kind = supervisor::Message::Kind;
  if (message->kind == Kind::scanner_socket && scanner_ && fd) scanner_->attach(std::move(fd));
  else if (message->kind == Kind::keeper_socket && fd) keeper_.attach(std::move(fd));
  else if (message->kind == Kind::drain) drain(false);
  else if (message->kind == Kind::cut) drain(true);
}

void ProxyLoop::tell(supervisor::Message::Kind kind, std::string about) {
  supervisor::Message message;
  message.kind = kind;
  message.index = index_;
  message.text = std::move(about);
  scanner::send_packet(shared_.control, encode(message));
}

void ProxyLoop::drain(bool cut) {
  for (const auto& listener : listeners_) listener->close();
  loop_.drain();
  if (cut) loop_.stop_all();
  if (sessions_ == 0) loop_.quit();
}

std::string ProxyLoop::new_trace_id() {
  // splitmix64: unique enough to find a line in a log, not a secret.
  random_ += 0x9e3779b97f4a7c15u;
  std::uint64_t mixed = random_;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  mixed ^= mixed >> 31;
  std::string id(12, ' ');
  for (char& c : id) {
    c = "0123456789abcdefghjkmnpqrstvwxyz"[mixed & 31];
    mixed >>= 5;
  }
  return id;
}

void* ProxyLoop::open(std::string_view trace_id, std::uint64_t size, std::array<std::uint64_t, 2> hash,
                      std::string_view client, std::string_view downstream) {
  return shared_.window->open(index_, trace_id, size, hash, client, downstream);
}

void ProxyLoop::close(void* slot) { supervisor::Window::close(static_cast<supervisor::WindowSlot*>(slot)); }
