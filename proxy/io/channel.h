// Calls to another process over a SOCK_SEQPACKET socket: a packet with at most one descriptor out, one packet back,
// matched by the id that both begin with. A peer that dies fails all open calls; a new socket may be attached later.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proxy/io/event_loop.h"
#include "proxy/io/wait.h"
#include "scanner/packet_socket.h"

namespace io {

class Channel final : public FdWatch::Owner {
 public:
  // One open call. `answered` is raised when `answer` is there or the peer is lost. Destroying it forgets the call: a
  // late answer is dropped.
  class Call {
   public:
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    bool lost() const { return lost_; }
    // False: the peer never got it, and did nothing. A call that is lost although it was sent may have been carried
    // out.
    bool sent() const { return sent_; }
    const std::optional<std::string>& answer() const { return answer_; }
    bool finished() const { return lost_ || answer_.has_value(); }
    std::uint64_t id() const { return id_; }
    Signal answered;

   private:
    friend class Channel;
    Call(Channel& channel, std::uint64_t id) : channel_(&channel), id_(id) {}
    Channel* channel_;  // nullptr once lost or answered
    std::uint64_t id_;
    std::optional<std::string> answer_;
    bool sent_ = false;
    bool lost_ = false;
  };

  // Reads the id of an answer; nothing = not an answer to a call (greetings and the like), given to `other`.
  using IdOf = std::function<std::optional<std::uint64_t>(std::string_view packet)>;
  using Other = std::function<void(std::string_view packet)>;
  // `lost` is called when the peer closes or misbehaves, after its calls are lost; not when we replace it.
  using Lost = std::function<void()>;
  Channel(EventLoop& loop, IdOf id_of, Other other, Lost lost)
      : loop_(loop), id_of_(std::move(id_of)), other_(std::move(other)), lost_(std::move(lost)) {}
  ~Channel();

  void attach(scanner::OwnedFd socket);  // replaces a former peer; its calls are lost
  bool attached() const { return static_cast<bool>(socket_); }
  std::uint64_t next_id() { return ++last_id_; }

  // `packet` begins with what id_of will find in the answer: `id` (from next_id()). A call that could not be sent is
  // lost at once (no peer, or its queue is full: last_send_was_full() says which; or the packet is empty or too long).
  std::unique_ptr<Call> call(std::uint64_t id, std::string_view packet, int fd);
  bool last_send_was_full() const { return full_; }
  bool send(std::string_view packet);  // without an answer

 private:
  void on_ready(FdWatch::Ready ready) override;
  void drop_peer();
  void lose_peer();
  EventLoop& loop_;
  IdOf id_of_;
  Other other_;
  Lost lost_;
  scanner::OwnedFd socket_;
  std::optional<FdWatch> watch_;
  std::unordered_map<std::uint64_t, Call*> calls_;
  std::uint64_t last_id_ = 0;
  bool full_ = false;
};

}  // namespace io
