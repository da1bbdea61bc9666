// SMTP server that accepts everything but relay probes and keeps nothing: one thread, epoll, as cheap as it can be, so
// that it does not distort what is measured in front of it. Reads standard input: every line gets one JSON line of
// counts; its end, or SIGTERM, ends the program after a last such line.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <strings.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view end_of_data = "\r\n.\r\n";
constexpr std::string_view ehlo_reply =
    "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n"
    "250-SMTPUTF8\r\n250 CHUNKING\r\n";  // as Postfix has it
constexpr std::size_t longest_line = 8192;
constexpr int accepts_at_once = 64;

struct Counts {
  std::uint64_t connections = 0, messages = 0, octets = 0;
  std::uint64_t partial = 0;  // connections that ended inside DATA
  std::uint64_t open = 0;
};

// Finds CRLF.CRLF across pieces: the last four octets of what came before are all that is kept.
class EndOfData {
 public:
  void start() { tail_ = "\r\n"; }  // a dot on the very first line ends an empty message
  // Offset in `piece` behind the final CRLF, or none.
  std::optional<std::size_t> find_in(std::string_view piece) {
    std::string seam = tail_ + std::string(piece.substr(0, 4));
    if (const auto at = seam.find(end_of_data); at != std::string::npos) return at + end_of_data.size() - tail_.size();
    for (std::size_t at = 0; (at = piece.find('.', at)) != std::string_view::npos; ++at)
      if (at >= 2 && piece.substr(at - 2, 5) == end_of_data) return at + 3;
    tail_ = piece.size() >= 4 ? std::string(piece.substr(piece.size() - 4)) : (tail_ + std::string(piece));
    if (tail_.size() > 4) tail_.erase(0, tail_.size() - 4);
    return std::nullopt;
  }

 private:
  std::string tail_;  // at most four octets: never on the heap
};

struct Connection {
  bool in_data = false;
  EndOfData end;
  std::uint64_t chunk = 0;  // octets of a BDAT that are still to come
  bool last_chunk = false;
  std::string partial_line;
};

class Sink {
 public:
  Sink(in_addr address, std::uint16_t port);
  int run();

 private:
  void watch(int fd);
  void accept_all();
  void read_from(int fd);
  bool take(Connection& connection, std::string_view bytes);  // false after QUIT
  bool take_line(Connection& connection, std::string_view line);
  void end_chunk(const Connection& connection);
  void drop(int fd);
  void print_counts() const;

  int epoll_ = -1, listener_ = -1, signals_ = -1;
  Counts counts_;
  std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
  std::array<char, 256 << 10> buffer_;
  std::string reply_;
};

Sink::Sink(in_addr host, std::uint16_t port) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr = host;
  socklen_t length = sizeof address;
  auto* generic = static_cast<sockaddr*>(static_cast<void*>(&address));
  if (bind(listener_, generic, length) != 0 || listen(listener_, 4096) != 0 ||
      getsockname(listener_, generic, &length) != 0) {
    std::perror("smtp_sink");
    std::exit(71);
  }
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGTERM);
  sigaddset(&asked, SIGINT);
  sigprocmask(SIG_BLOCK, &asked, nullptr);
  signals_ = signalfd(-1, &asked, SFD_CLOEXEC | SFD_NONBLOCK);
  for (const int fd : {listener_, signals_, STDIN_FILENO}) watch(fd);
  std::printf("listening %u\n", ntohs(address.sin_port));
  std::fflush(stdout);
}

void Sink::watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0 && fd != STDIN_FILENO) std::perror("epoll_ctl");
}

void Sink::accept_all() {
  for (int i = 0; i < accepts_at_once; ++i) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connections_.size() <= static_cast<std::size_t>(fd)) connections_.resize(static_cast<std::size_t>(fd) + 256);
    connections_[static_cast<std::size_t>(fd)] = std::make_unique<Connection>();
    ++counts_.connections;
    ++counts_.open;
    constexpr std::string_view banner = "220 sink.example ESMTP\r\n";
    (void)!send(fd, banner.data(), banner.size(), MSG_NOSIGNAL);
    watch(fd);
  }
}

void Sink::drop(int fd) {
  auto& connection = connections_[static_cast<std::size_t>(fd)];
  counts_.partial += connection->in_data || connection->chunk > 0 ? 1 : 0;
  connection.reset();
  --counts_.open;
  close(fd);
}

bool Sink::take_line(Connection& connection, std::string_view line) {
  const auto is = [&](std::string_view verb) {
    return line.size() >= verb.size() && strncasecmp(line.data(), verb.data(), verb.size()) == 0;
  };
  if (is("EHLO")) reply_ += ehlo_reply;
  else if (is("DATA")) {
    reply_ += "354 go on\r\n";
    connection.in_data = true;
    connection.end.start();
  } else if (is("BDAT ")) {
    connection.chunk = std::strtoull(line.data() + 5, nullptr, 10);
    connection.last_chunk = line.find(" LAST") != std::string_view::npos;
    if (connection.chunk == 0) end_chunk(connection);
  } else if (is("QUIT")) {
    reply_ += "221 2.0.0 bye\r\n";
    return false;
  } else if (is("RCPT TO:<relay-probe")) {
    reply_ += "554 5.7.1 Relay access denied\r\n";  // or gatepost would have no client of it
  } else {
    reply_ += "250 2.0.0 ok\r\n";
  }
  return true;
}

void Sink::end_chunk(const Connection& connection) {
  counts_.messages += connection.last_chunk ? 1 : 0;
  reply_ += connection.last_chunk ? "250 2.0.0 ok: taken\r\n" : "250 2.0.0 ok: chunk\r\n";
}

bool Sink::take(Connection& connection, std::string_view bytes) {
  while (!bytes.empty()) {
    if (connection.chunk > 0) {
      const std::size_t piece = std::min<std::uint64_t>(connection.chunk, bytes.size());
      counts_.octets += piece;
      bytes.remove_prefix(piece);
      connection.chunk -= piece;
      if (connection.chunk == 0) end_chunk(connection);
      continue;
    }
    if (connection.in_data) {
      const auto end = connection.end.find_in(bytes);
      counts_.octets += end.value_or(bytes.size());
      if (!end) return true;
      bytes.remove_prefix(*end);
      connection.in_data = false;
      ++counts_.messages;
      reply_ += "250 2.0.0 ok: taken\r\n";
      continue;
    }
    const auto end = bytes.find('\n');
    if (end == std::string_view::npos) {
      connection.partial_line += bytes;
      return connection.partial_line.size() <= longest_line;
    }
    const std::string line = connection.partial_line + std::string(bytes.substr(0, end));
    connection.partial_line.clear();
    bytes.remove_prefix(end + 1);
    if (!take_line(connection, line)) return false;
  }
  return true;
}

void Sink::read_from(int fd) {
  const ssize_t n = recv(fd, buffer_.data(), buffer_.size(), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return drop(fd);
  reply_.clear();
  const bool goes_on =
      take(*connections_[static_cast<std::size_t>(fd)], std::string_view(buffer_.data(), static_cast<std::size_t>(n)));
  // Replies are far smaller than a socket buffer; a client that lets them pile up is dropped.
  const bool sent =
      reply_.empty() || send(fd, reply_.data(), reply_.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(reply_.size());
  if (!goes_on || !sent) drop(fd);
}

void Sink::print_counts() const {
  std::printf("{\"connections\": %llu, \"messages\": %llu, \"octets\": %llu, \"partial\": %llu, \"open\": %llu}\n",
              static_cast<unsigned long long>(counts_.connections), static_cast<unsigned long long>(counts_.messages),
              static_cast<unsigned long long>(counts_.octets), static_cast<unsigned long long>(counts_.partial),
              static_cast<unsigned long long>(counts_.open));
  std::fflush(stdout);
}

int Sink::run() {
  epoll_event events[256];
  for (;;) {
    const int n = epoll_wait(epoll_, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener_) {
        accept_all();
      } else if (fd == STDIN_FILENO || fd == signals_) {
        char line[256];
        const bool ends = fd == signals_ || read(STDIN_FILENO, line, sizeof line) <= 0;
        print_counts();
        if (ends) return 0;
      } else if (connections_[static_cast<std::size_t>(fd)]) {
        read_from(fd);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  unsigned long port = 0;
  in_addr host{htonl(INADDR_LOOPBACK)};
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 < argc && name == "--port" && (port = std::strtoul(argv[i + 1], nullptr, 10)) <= 65535) continue;
    if (i + 1 < argc && name == "--address" && inet_pton(AF_INET, argv[i + 1], &host) == 1) continue;
    std::fputs(
        "smtp_sink [--port N] [--address 127.0.0.1]: SMTP server that accepts everything; prints \"listening PORT\"\n",
        stderr);
    return 64;
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  return std::make_unique<Sink>(host, static_cast<std::uint16_t>(port))->run();
}
