// A connection in memory: the session holds a MemoryStream, the script plays the Peer at the other end.
//
// Like a socket it is edge-triggered: `readable` is raised when bytes or an end arrive, `writable` when there is room
// again. Nothing here waits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/io/stream.h"

namespace playbook {

class MemoryStream;

class Peer {
 public:
  static constexpr std::size_t unlimited = static_cast<std::size_t>(-1);
  enum class End { open, shut, closed, reset };  // of the session's side: FIN with reading on, closed in order, RST

  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();
  // The session's end. `address` is what its peer() says.
  std::unique_ptr<MemoryStream> connect(std::string address);
  bool connected() const { return connected_; }
  bool talks() const { return connected_ && !finished_ && !reset_; }  // it has not ended its side

  // What the peer does.
  void send(std::string_view bytes);
  void finish();  // FIN; goes on reading
  void
  close();  // closes both directions: what the session still writes is lost, from its second write on with an error
  void reset();  // RST: what the session has not read is lost
  // From now on the session may write `octets` more before it would block; grant() makes room for as many again.
  void set_window(std::size_t octets);
  bool grant();  // true: there is more room than before

  // What the session did.
  const std::string& received() const { return received_; }  // not taken yet
  std::string take(std::size_t octets);
  End end() const { return end_; }
  std::function<void(std::string_view)> heard;  // each piece as it arrives

 private:
  friend class MemoryStream;
  MemoryStream* stream_ = nullptr;  // nullptr: the session has closed its end
  bool connected_ = false;
  std::string to_session_;
  std::string received_;
  std::size_t window_ = unlimited;
  std::size_t written_ = 0;  // since the last grant
  bool finished_ = false;
  bool closed_ = false;
  bool lost_writes_ = false;
  bool reset_ = false;
  End end_ = End::open;
};

class MemoryStream final : public io::Stream {
 public:
  MemoryStream(Peer& peer, std::string address) : peer_(&peer), address_(std::move(address)) {}
  ~MemoryStream() override;

  io::IoResult read(char* into, std::size_t room) override;
  io::IoResult write(const iovec* parts, int count) override;
  io::IoResult send_file(int fd, off_t offset, std::size_t count) override;
  void abort_on_close() override { abort_ = true; }
  std::string peer() const override { return address_; }
  void shutdown_write() override;

 private:
  friend class Peer;
  Peer* peer_;  // nullptr: the script is gone
  std::string address_;
  bool abort_ = false;
};

}  // namespace playbook
