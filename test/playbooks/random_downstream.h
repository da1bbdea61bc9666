// A downstream that answers at random as servers do, or always kindly, and keeps the envelope that it believes in.
#pragma once

#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "test/playbooks/harness.h"

namespace playbook {

struct BelievedEnvelope {
  std::string mail;  // "FROM:<...>" as it was said; empty: no transaction
  std::vector<std::string> recipients;
  bool operator==(const BelievedEnvelope&) const = default;
};

class RandomDownstream {
 public:
  RandomDownstream(World& world, std::mt19937& random, bool kind = false)
      : world_(world), random_(random), kind_(kind) {}
  // Reads and answers on every connection from number `first` on until there is nothing to do.
  void play(std::size_t first = 1);

  struct Delivered {
    BelievedEnvelope envelope;
    std::string wire;  // by BDAT: the content itself
    bool chunked = false;
    bool accepted = false;
  };
  // CHUNKING and BINARYMIME are offered on the first `connections` of them; without this call on none.
  void offer_chunking(std::size_t connections) { chunking_ = connections; }
  const std::vector<Delivered>& delivered() const { return delivered_; }
  const std::string& scandal() const { return scandal_; }  // what no server should ever see from us

 private:
  struct Connection {
    bool greeted = false;
    bool over = false;
    bool in_content = false;
    std::optional<std::size_t> chunk;  // octets of a BDAT that is being read
    bool refused_reset = false;        // a MAIL may be on its way behind that RSET
    BelievedEnvelope envelope;
  };
  bool play_one(std::size_t number);
  void obey(std::size_t number, const std::string& line);
  void take_content(std::size_t number, const std::string& wire, bool chunked);
  void say(std::size_t number, std::string_view line);
  bool happens(unsigned percent) { return std::uniform_int_distribution<unsigned>(0, 99)(random_) < percent; }
  bool trouble(unsigned percent) { return !kind_ && happens(percent); }
  World& world_;
  std::mt19937& random_;
  bool kind_;
  std::size_t chunking_ = 0;
  std::map<std::size_t, Connection> connections_;
  std::vector<Delivered> delivered_;
  std::string scandal_;
};

}  // namespace playbook
