// A name server of the test's own, on the loop under test: UDP and TCP on one port, answering as a function says, octet
// by octet if need be.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/io/listener.h"
#include "proxy/io/resolver.h"
#include "proxy/io/tcp_stream.h"

namespace dns_test {

struct Question {
  std::uint16_t id = 0;
  std::string name;  // lower case, without the last dot
  io::RecordType type{};
  bool tcp = false;
  std::string section;  // the question as it came, to be repeated in the answer
};

// Wire forms; names are never compressed.
std::string number16(unsigned value);
std::string wire_name(std::string_view name);
std::string record(std::string_view owner, unsigned type, unsigned ttl, std::string_view rdata);
std::string a(std::string_view owner, std::string_view address, unsigned ttl = 60);
std::string aaaa(std::string_view owner, std::string_view address, unsigned ttl = 60);
std::string cname(std::string_view owner, std::string_view target, unsigned ttl = 60);
std::string soa(std::string_view owner, unsigned ttl);

// A whole message; each string of `answers` is one record.
struct Reply {
  std::vector<std::string> answers{};
  unsigned code = 0;
  bool truncated = false;
  std::vector<std::string> authority{};
};
std::string message(const Question& question, const Reply& reply);

class Server final : public io::FdWatch::Owner {
 public:
  // What to send back for one question: each string one message, in this order; none = silence.
  using Script = std::function<std::vector<std::string>(const Question&)>;
  Server(io::EventLoop& loop, Script script);
  ~Server();
  config::Endpoint address() const { return address_; }
  Script script;
  std::vector<Question> asked;

 private:
  void on_ready(io::FdWatch::Ready) override;
  std::vector<std::string> answers_to(std::string_view packet, bool tcp);
  io::Task<> serve(std::unique_ptr<io::TcpStream> client);

  io::EventLoop& loop_;
  config::Endpoint address_;
  scanner::OwnedFd socket_;
  std::optional<io::FdWatch> watch_;
  std::optional<io::Listener> listener_;
};

}  // namespace dns_test
