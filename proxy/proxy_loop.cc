#include "proxy/proxy_loop.h"

#include <sys/random.h>
#include <cstring>
#include <exception>

#include "config/endpoint.h"
#include "proxy/io/tcp_stream.h"
#include "proxy/session/smtp_session.h"
#include "proxy/supervisor/ban_request.h"
#include "proxy/supervisor/control.h"
#include "proxy/totals.h"
#include "scanner/job.h"

namespace {

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    seed = static_cast<std::uint64_t>(::time(nullptr));
  return seed;
}

std::shared_ptr<const io::HostsFile> read_hosts(const config::Dns& dns, admin::Log& log) {
  if (dns.hosts.empty()) return nullptr;
  auto hosts = io::HostsFile::read(dns.hosts);
  if (hosts) return std::make_shared<const io::HostsFile>(std::move(*hosts));
  log.say(0, admin::Level::warning, "the hosts file " + dns.hosts + " cannot be read: " + hosts.error());
  return nullptr;
}

// The address that a socket is bound to.
sockaddr_storage name_of(int socket) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&name), &length);
  return name;
}

}  // namespace

ProxyShared::ProxyShared(const ProxyStart& start, std::size_t loops)
    : config(start.config),
      control(start.control.get()),
      window(start.window),
      passed_on(start.passed_on),
      log(start.config->log, "gatepost/proxy", start.log_file, static_cast<unsigned>(loops) + 1),
      spool(start.config->spool.directory, start.config->spool.memory, start.config->spool.total_memory,
            std::string(scanner::synthetic_prefix)),
      hosts(read_hosts(start.config->dns, log)),
      admission(start.config),
      interception(start.config, start.pf.get()) {}

bool ProxyShared::use_tls_files(int files) {
  const auto unsealed = io::TlsFiles::unseal(files);
  if (!unsealed) return false;
  const auto former = tls();
  std::vector<io::TlsProblem> problems;
  auto made = io::TlsContexts::make(*config, *unsealed, problems, former.get(), config.get());
  if (!made) return false;
  const std::lock_guard lock(tls_mutex_);
  tls_ = std::move(made);
  return true;
}

std::shared_ptr<const io::TlsContexts> ProxyShared::tls() {
  const std::lock_guard lock(tls_mutex_);
  return tls_;
}

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
    : shared_(shared),
      index_(index),
      resolver_(loop_, shared.config->dns, shared.hosts,
                [this](const std::string& sentence) {
                  if (index_ == 0) shared_.log.say(1, admin::Level::error, sentence);  // the loops have one file
                }),
      names_(loop_, resolver_,
             [this](const std::string& sentence) { shared_.log.say(index_ + 1, admin::Level::warning, sentence); }),
      transparent_([this](int family) { tell(supervisor::Message::Kind::sockets, family == AF_INET6 ? "6" : "4"); }),
      connector_(loop_, &names_, &transparent_, shared.interception.wanted() ? &shared.interception.own : nullptr),
      keeper_(loop_, [this] { tell(supervisor::Message::Kind::silent, "keeper"); }),
      pool_(loop_),
      identities_(loop_, shared.complaints),
      withheld_(shared.withheld),
      random_(random_seed()) {
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
  services_.pool = &pool_;
  services_.tls = shared_.tls();
  services_.withheld = &withheld_;
  services_.identities = &identities_;
  services_.log = [this](admin::Level level, admin::Record&& record) {
    shared_.log.write(index_ + 1, level, std::move(record));
  };
  services_.new_trace_id = [this] { return new_trace_id(); };
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    const config::Listener& settings = config.listeners[i];
    const bool one = !config::is_wildcard(settings.address) && settings.intercept == config::Intercept::none;
    locals_.push_back(one ? name_of(listeners[i].get()) : sockaddr_storage{});
    const auto starved = [this, i](int error) {
      shared_.log.say(index_ + 1, admin::Level::warning,
                      "listener " + shared_.config->listeners[i].name + " pauses: " + std::strerror(error) +
                          " (raise the limit of open files: LimitNOFILE= or ulimit -n)");
    };
    listeners_.push_back(std::make_unique<io::Listener>(
        loop_, std::move(listeners[i]), std::string(farewell(Refusal::sessions)),
        [this, i](io::Accepted accepted) { welcome(i, std::move(accepted)); }, starved));
  }
  inbox_ = std::make_unique<Inbox>(*this, std::move(inbox));
}

ProxyLoop::~ProxyLoop() { loop_.destroy_roots(); }

void ProxyLoop::run() { loop_.run(); }

void ProxyLoop::note_refusal(Refusal reason, std::size_t listener, const sockaddr* client) {
  const Network network = shared_.admission.network_of(listener, client);
  const auto refused = shared_.refusals.add(reason, listener, network, loop_.now());
  if (refused) log_refused(shared_.log, index_ + 1, *shared_.config, shared_.admission, *refused);
}

// Lost when it comes faster than it is counted.
void ProxyLoop::note_offence(std::size_t listener, config::Offence what, const std::string& ip, bool told) {
  if (shared_.config->listeners[listener].bans.rule_for(what).time.count() == 0) return;
  const auto client = protocol::parse_ip(ip);  // none of a UNIX socket
  if (!client) return;
  const supervisor::BanRequest request{static_cast<std::uint32_t>(listener), what, *client, told};
  scanner::send_packet(shared_.to_main_thread, encode(message_of(request)));
}

// Closed without a word: whoever comes to the port of a listener with intercept by himself has no business there.
bool ProxyLoop::is_stray(std::size_t listener, session::Arrival& arrival, int socket) {
  if (shared_.config->listeners[listener].intercept == config::Intercept::none) return false;
  auto intercepted = shared_.interception.look(listener, socket, arrival.peer, loop_.now());
  if (!intercepted) note_refusal(intercepted.error(), listener, reinterpret_cast<const sockaddr*>(&arrival.peer));
  else arrival.intercepted = std::move(*intercepted);
  return !intercepted;
}

void ProxyLoop::welcome(std::size_t listener, io::Accepted accepted) {
  const int socket = accepted.socket.get();
  const auto* peer = reinterpret_cast<const sockaddr*>(&accepted.peer);
  try {
    session::Arrival arrival;
    arrival.peer = accepted.peer;
    const config::Endpoint& address = shared_.config->listeners[listener].address;
    arrival.from_here = !address.is_unix() && is_loopback(address) && shared_.interception.is_local(peer, loop_.now());
    if (is_stray(listener, arrival, socket)) return;
    auto place = shared_.admission.admit(listener, peer, loop_.now());
    if (!place) {
      const std::string_view line = farewell(place.error());
      // In TLS from the first octet on nobody could read it.
      if (shared_.config->listeners[listener].tls.mode != config::ListenerTlsMode::implicit)
        ::send(socket, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (place.error() == Refusal::client_connections)
        note_offence(listener, config::Offence::rate, io::format_ip(peer), false);
      return note_refusal(place.error(), listener, peer);
    }
    arrival.local = locals_[listener];
    if (arrival.local.ss_family == AF_UNSPEC) arrival.local = name_of(socket);
    auto client = std::make_unique<io::TcpStream>(loop_, std::move(accepted.socket), peer, accepted.peer_length);
    loop_.spawn(serve_client(std::move(*place), std::move(client), arrival));
  } catch (const std::exception& error) {
    // No memory for one session more: this client is closed, the others live.
    shared_.log.say(index_ + 1, admin::Level::error, std::string("a client cannot be served: ") + error.what());
  }
}

// Counts a session as long as its frame lives, however it ends.
class ProxyLoop::Seat final : public session::Occupancy {
 public:
  Seat(ProxyLoop& owner, Admission::Seat place) : owner_(owner), place_(std::move(place)) { ++owner_.sessions_; }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  ~Seat() override {
    --owner_.sessions_;
    if (owner_.loop_.draining() && owner_.sessions_ == 0) owner_.loop_.quit();
  }
  bool recount(const sockaddr* told, std::string_view& line) override {
    const auto refusal = owner_.shared_.admission.recount(place_, told, owner_.loop_.now());
    if (!refusal) return true;
    owner_.note_refusal(*refusal, place_.listener(), told);
    line = farewell(*refusal);
    return false;
  }

  void introduced_unlisted(session::Introducing how, const session::ClientFacts& peer) override {
    const Refusal reason = how == session::Introducing::proxy     ? Refusal::proxy_from
                           : how == session::Introducing::xclient ? Refusal::xclient_from
                                                                  : Refusal::xforward_from;
    const auto address = config::parse_address(peer.address);  // none of a UNIX socket
    owner_.note_refusal(reason, place_.listener(), address.value_or(config::Endpoint()).get());
  }
  void offended(config::Offence what, const session::ClientFacts& client) override {
    owner_.note_offence(place_.listener(), what, client.ip, client.told);
  }
  void passed_on() override {
    is_passed_on_ = true;
    if (owner_.shared_.passed_on != nullptr) owner_.shared_.passed_on->add(place_.listener());
  }
  // Inside TLS that is passed on nobody sees where a transaction begins.
  void cut(bool in_transaction) override {
    if (in_transaction || is_passed_on_) owner_.shared_.has_cut = true;
  }

 private:
  ProxyLoop& owner_;
  Admission::Seat place_;
  bool is_passed_on_ = false;
};

io::Task<> ProxyLoop::serve_client(Admission::Seat place, std::unique_ptr<io::Stream> client,
                                   session::Arrival arrival) {
  const std::size_t listener = place.listener();
  Seat seat(*this, std::move(place));
  arrival.occupancy = &seat;
  session::SmtpSession session(services_, shared_.config->listeners[listener], std::move(client), arrival, loop_);
  co_await session.run();
}

void ProxyLoop::obey(std::string_view packet, scanner::OwnedFd fd) {
  const auto message = supervisor::decode(packet);
  if (!message) return;
  using Kind = supervisor::Message::Kind;
  if (message->kind == Kind::scanner_socket && scanner_ && fd) scanner_->attach(std::move(fd));
  else if (message->kind == Kind::keeper_socket && fd) {
    keeper_.attach(std::move(fd));
    tell(Kind::ready, "keeper");
  } else if (message->kind == Kind::transparent_sockets && fd)
    transparent_.add(message->text == "6" ? AF_INET6 : AF_INET, scanner::unbundle(fd));
  else if (message->kind == Kind::tls_files) services_.tls = shared_.tls();
  else if (message->kind == Kind::reload) identities_.doubt_all(services_.tls);
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

void* ProxyLoop::open(const session::Parcel& parcel, std::string_view downstream) {
  const session::ClientFacts& client = parcel.client;
  return shared_.window->open(index_, {parcel.trace_id, parcel.spool.size(), parcel.spool.hash(), client.address, client.listener,
                                       client.direction, downstream});
}

void ProxyLoop::close(void* slot) { supervisor::Window::close(static_cast<supervisor::WindowSlot*>(slot)); }
