#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <random>

#include "test/unit/io_tls_fixture.h"

namespace {

using namespace io_test;
using io::IoStatus;

// Two ends that have shaken hands.
struct Open : Wire {
  Open() : Wire(server_context(), client_context()) {
    shake_hands();
    REQUIRE(server.open());
    REQUIRE(client.open());
    read_now(*client.stream);  // the ticket
  }
  static ServerContext server_context() {
    static Listener listener("mx.example.org");
    static const ServerContext context = listener.make();
    return context;
  }
  static ClientContext client_context() {
    static const ClientContext context = Downstream::verified().make();
    return context;
  }
};

std::string noise(std::size_t size) {
  static std::mt19937 random(7);
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

TEST_CASE("tls: octets arrive, whatever the pieces") {
  for (const std::size_t size : std::vector<std::size_t>{1, 100, 16383, 16384, 16385, 100000}) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{333}, playbook::Peer::unlimited}) {
      if (piece == 1 && size > 20000) continue;
      CAPTURE(size);
      Open wire;
      const std::string text = noise(size);
      REQUIRE(write_now(*wire.client.stream, text) == IoStatus::ok);
      std::string all;
      do all += read_now(*wire.server.stream, 777).text;
      while (wire.carry_once(piece));
      CHECK(all == text);
    }
  }
}

TEST_CASE("tls: several parts are one record") {
  Open wire;
  const std::string first = "250-a\r\n", second, third = "250 b\r\n";
  const iovec parts[3] = {
      {const_cast<char*>(first.data()), first.size()}, {nullptr, 0}, {const_cast<char*>(third.data()), third.size()}};
  const io::IoResult sent = wire.server.stream->write(parts, 3);
  CHECK(sent.status == IoStatus::ok);
  CHECK(sent.count == first.size() + third.size());
  CHECK(wire.server.peer.received().size() < 14 + 30);  // one header, one tag
  wire.carry();
  CHECK(read_now(*wire.client.stream).text == "250-a\r\n250 b\r\n");
  CHECK(wire.server.stream->write(parts + 1, 1).count == 0);
}

TEST_CASE("tls: parts around the size of a record") {
  for (const std::size_t size : std::vector<std::size_t>{16383, 16384, 16385, 40000}) {
    Open wire;
    const std::string head = "head", body = noise(size), all = head + body;
    std::size_t done = 0;
    while (done < all.size()) {  // as a sender does it: from where the last call stopped
      iovec parts[2];
      int count = 0;
      if (done < head.size()) parts[count++] = {const_cast<char*>(head.data()) + done, head.size() - done};
      const std::size_t in_body = done < head.size() ? 0 : done - head.size();
      parts[count++] = {const_cast<char*>(body.data()) + in_body, body.size() - in_body};
      const io::IoResult sent = wire.client.stream->write(parts, count);
      REQUIRE(sent.status == IoStatus::ok);
      done += sent.count;
    }
    std::string got;
    do got += read_now(*wire.server.stream).text;
    while (wire.carry_once(5000));
    CHECK(got == all);
  }
}

TEST_CASE("tls: a peer that does not read, and a write that is tried again") {
  Open wire;
  wire.client.peer.set_window(100);
  const std::string text = noise(50000);
  std::string_view rest = text;
  std::string got;
  int blocked = 0;
  for (int turn = 0; turn < 3000 && !rest.empty(); ++turn) {
    const iovec part{const_cast<char*>(rest.data()), rest.size()};
    const io::IoResult sent = wire.client.stream->write(&part, 1);
    if (sent.status == IoStatus::ok) {
      rest.remove_prefix(sent.count);
      continue;
    }
    REQUIRE(sent.status == IoStatus::would_block);
    ++blocked;
    wire.client.peer.grant();
    wire.carry_once(playbook::Peer::unlimited);
    got += read_now(*wire.server.stream).text;
  }
  wire.carry();
  got += read_now(*wire.server.stream).text;
  CHECK(got == text);
  CHECK(blocked > 100);
}

TEST_CASE("tls: a file") {
  Open wire;
  const std::string text = noise(70000);
  const int file = ::memfd_create("file", MFD_CLOEXEC);
  REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  wire.server.peer.set_window(9000);
  std::size_t done = 10;
  std::string got;
  while (done < text.size()) {
    const io::IoResult sent = wire.server.stream->send_file(file, static_cast<off_t>(done), text.size() - done);
    if (sent.status == IoStatus::ok) done += sent.count;
    else REQUIRE(sent.status == IoStatus::would_block);
    wire.server.peer.grant();
    wire.carry();
    got += read_now(*wire.client.stream).text;
  }
  CHECK(got == text.substr(10));
  CHECK(wire.server.stream->send_file(file, 70000, 5).status == IoStatus::reset);  // shorter than promised
  ::close(file);
}

TEST_CASE("tls: close_notify is an end, a FIN is not") {
  SUBCASE("destroyed in order") {
    Open wire;
    write_now(*wire.client.stream, "QUIT\r\n");
    wire.client.stream.reset();
    wire.carry();
    wire.server.peer.finish();
    const Reading seen = read_now(*wire.server.stream);
    CHECK(seen.text == "QUIT\r\n");
    CHECK(seen.end == IoStatus::closed);
    CHECK(read_now(*wire.server.stream).end == IoStatus::closed);
    CHECK(write_now(*wire.server.stream, "221\r\n") == IoStatus::ok);  // the other direction is open still
  }
  SUBCASE("only the FIN") {
    Open wire;
    write_now(*wire.client.stream, "QUIT\r\n");
    wire.carry();
    wire.server.peer.finish();
    const Reading seen = read_now(*wire.server.stream);
    CHECK(seen.text == "QUIT\r\n");
    CHECK(seen.end == IoStatus::reset);
    CHECK(wire.server.stream->why() == "peer closed without close_notify");
  }
  SUBCASE("cut inside a record") {
    Open wire;
    write_now(*wire.client.stream, "QUIT\r\n");
    wire.carry_once(10);
    wire.server.peer.finish();
    const Reading seen = read_now(*wire.server.stream);
    CHECK(seen.text.empty());
    CHECK(seen.end == IoStatus::reset);
  }
  SUBCASE("cut inside the close_notify") {
    Open wire;
    wire.client.stream.reset();
    wire.carry_once(10);
    wire.server.peer.finish();
    CHECK(read_now(*wire.server.stream).end == IoStatus::reset);
  }
  SUBCASE("aborted: no close_notify, and the lower stream's RST") {
    Open wire;
    wire.client.stream->abort_on_close();
    wire.client.stream.reset();
    CHECK(wire.client.peer.received().empty());
    CHECK(wire.client.peer.end() == playbook::Peer::End::reset);
  }
  SUBCASE("half closed") {
    Open wire;
    wire.client.stream->shutdown_write();
    CHECK(wire.client.peer.end() == playbook::Peer::End::shut);
    CHECK(write_now(*wire.client.stream, "x") == IoStatus::closed);
    wire.carry();
    CHECK(read_now(*wire.server.stream).end == IoStatus::closed);
    CHECK(write_now(*wire.server.stream, "bye") == IoStatus::ok);
    wire.carry();
    CHECK(read_now(*wire.client.stream).text == "bye");
    const std::size_t before = wire.client.peer.received().size();
    wire.client.stream.reset();
    CHECK(wire.client.peer.received().size() == before);  // said once
  }
  SUBCASE("reset") {
    Open wire;
    wire.server.peer.reset();
    CHECK(read_now(*wire.server.stream).end == IoStatus::reset);
    CHECK(write_now(*wire.server.stream, "x") == IoStatus::reset);
  }
  SUBCASE("with half a record not sent: silence, not a broken record") {
    Open wire;
    wire.client.peer.set_window(10);
    CHECK(write_now(*wire.client.stream, "250 ok\r\n") == IoStatus::would_block);
    wire.client.stream.reset();
    CHECK(wire.client.peer.received().size() == 10);
  }
}

TEST_CASE("tls: octets that were changed on the way") {
  for (std::size_t at = 0; at < 28; ++at) {
    Open wire;
    write_now(*wire.client.stream, "QUIT\r\n");
    std::string bytes = wire.client.peer.take(playbook::Peer::unlimited);
    REQUIRE(bytes.size() == 28);  // header, 6 octets, their kind, tag
    bytes[at] = static_cast<char>(bytes[at] ^ 0x55);
    wire.server.peer.send(bytes);
    wire.server.peer.finish();
    const Reading seen = read_now(*wire.server.stream);
    CHECK(seen.text.empty());
    CHECK(seen.end == IoStatus::reset);
    CHECK_FALSE(wire.server.stream->why().empty());
    CHECK(write_now(*wire.server.stream, "x") != IoStatus::ok);
  }
}

TEST_CASE("tls: plain text behind the handshake is no command") {
  Open wire;
  wire.server.peer.send("MAIL FROM:<a@example.org>\r\n");
  const Reading seen = read_now(*wire.server.stream);
  CHECK(seen.text.empty());
  CHECK(seen.end == IoStatus::reset);
}

// Waits for one direction and says that it was woken.
io::Task<> wait_for(io::Scope& scope, io::Signal& signal, int& woken) {
  co_await io::Wait(scope, io::never, signal);
  ++woken;
}

TEST_CASE("tls: the lower stream's signals come through") {
  Open wire;
  int read_woken = 0, write_woken = 0;
  wire.loop.spawn(wait_for(wire.scope, wire.server.stream->readable, read_woken));
  wire.server.peer.set_window(1);
  CHECK(write_now(*wire.server.stream, "x") == IoStatus::would_block);
  wire.loop.spawn(wait_for(wire.scope, wire.server.stream->writable, write_woken));
  wire.loop.settle();
  CHECK(read_woken == 0);
  write_now(*wire.client.stream, "x");
  wire.carry_once(5);
  CHECK(read_woken == 1);
  CHECK(write_woken == 0);
  wire.server.peer.grant();
  wire.loop.settle();
  CHECK(write_woken == 1);
}

io::Task<> send_everything(io::TlsStream& stream, io::Scope& scope, std::string_view text, bool& done) {
  const IoStatus status = co_await write_all(stream, scope, io::never, text);
  done = status == IoStatus::ok;
}
io::Task<> receive_everything(io::TlsStream& stream, io::Scope& scope, std::size_t size, std::string& all) {
  std::vector<char> space(30000);
  while (all.size() < size) {
    const io::IoResult got = stream.read(space.data(), space.size());
    if (got.status == IoStatus::ok) all.append(space.data(), got.count);
    else if (got.status != IoStatus::would_block) co_return;
    else co_await io::Wait(scope, io::never, stream.readable);
  }
}

TEST_CASE("tls: much both ways at once, over a narrow wire") {
  for (const std::size_t window : {std::size_t{1000}, std::size_t{20000}, playbook::Peer::unlimited}) {
    Open wire;
    wire.server.peer.set_window(window);
    wire.client.peer.set_window(window);
    const std::string up = noise(1000000), down = noise(900000);
    bool up_done = false, down_done = false;
    std::string up_got, down_got;
    wire.loop.spawn(send_everything(*wire.client.stream, wire.scope, up, up_done));
    wire.loop.spawn(send_everything(*wire.server.stream, wire.scope, down, down_done));
    wire.loop.spawn(receive_everything(*wire.server.stream, wire.scope, up.size(), up_got));
    wire.loop.spawn(receive_everything(*wire.client.stream, wire.scope, down.size(), down_got));
    wire.loop.settle();
    for (int turn = 0; turn < 100000 && wire.loop.roots() > 0; ++turn) {
      wire.carry_once(playbook::Peer::unlimited);
      wire.server.peer.grant();
      wire.client.peer.grant();
      wire.loop.settle();
    }
    CHECK(up_done);
    CHECK(down_done);
    CHECK(up_got == up);
    CHECK(down_got == down);
  }
}

TEST_CASE("tls: stopped or destroyed in the middle of a transfer") {
  for (const bool destroy : {false, true}) {
    for (int turns = 0; turns < 40; ++turns) {
      Open wire;
      wire.client.peer.set_window(3000);
      const std::string up = noise(50000);
      bool done = false;
      std::string got;
      wire.loop.spawn(send_everything(*wire.client.stream, wire.scope, up, done));
      wire.loop.spawn(receive_everything(*wire.server.stream, wire.scope, up.size(), got));
      for (int i = 0; i < turns; ++i) {
        wire.carry_once(2000);
        wire.client.peer.grant();
      }
      if (destroy) wire.loop.destroy_roots();
      else wire.loop.stop_all();
      wire.loop.settle();
      wire.client.stream.reset();
      CHECK(wire.loop.roots() == 0);
      CHECK(up.starts_with(got));
    }
  }
}

}  // namespace
