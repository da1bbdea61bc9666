// A resolver that forwards to a scripted server, and how tests read its answers.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/io/hosts_file.h"
#include "proxy/io/resolver.h"
#include "test/unit/dns_script.h"
#include "test/unit/io_loop_fixture.h"

namespace dns_test {

using Answers = std::vector<std::string>;

inline io::AddressRecord address(const std::string& text) {
  io::AddressRecord record;
  record.family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  REQUIRE(::inet_pton(record.family, text.c_str(), record.octets.data()) == 1);
  return record;
}

struct World : io_test::LoopRun {
  explicit World(Server::Script script, std::shared_ptr<const io::HostsFile> hosts = nullptr, config::Dns given = {})
      : server(loop, std::move(script)), settings(std::move(given)), scope(loop) {
    if (settings.forwarders.empty()) settings.forwarders.push_back(server.address());
    resolver.emplace(loop, settings, std::move(hosts), [this](const std::string& said) { complaints.push_back(said); });
  }
  ~World() { loop.destroy_roots(); }

  // The answer to one question; never waits longer than `patience`.
  io::Lookup ask(const std::string& name, io::RecordType type, io::Duration patience = std::chrono::seconds(20)) {
    std::optional<io::Lookup> answer;
    finish(ask_for(name, type, patience, answer));
    REQUIRE(answer.has_value());
    return *answer;
  }
  io::Task<> ask_for(std::string name, io::RecordType type, io::Duration patience, std::optional<io::Lookup>& answer) {
    answer = co_await resolver->look_up(std::move(name), type, scope, loop.now() + patience);
  }
  std::size_t asked_for(const std::string& name) const {
    const auto same = [&](const Question& question) { return question.name == name; };
    return static_cast<std::size_t>(std::ranges::count_if(server.asked, same));
  }

  Server server;
  config::Dns settings{};
  io::Scope scope;
  Answers complaints{};
  std::optional<io::UnboundResolver> resolver{};
};

// Everybody gets this reply.
inline Server::Script always(Reply reply) {
  return [reply](const Question& question) { return Answers{message(question, reply)}; };
}

template <class Type>
std::vector<Type> all(const io::Lookup& answer) {
  std::vector<Type> out;
  if (!answer) FAIL(answer.error().text);
  else
    for (const io::Record& record : answer->records) out.push_back(std::get<Type>(record));
  return out;
}
inline io::NotFound why(const io::Lookup& answer) {
  REQUIRE_FALSE(answer.has_value());
  return answer.error();
}

}  // namespace dns_test
