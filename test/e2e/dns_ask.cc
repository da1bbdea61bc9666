// Asks as the proxy does, for tests: dns_ask HOST:PORT ANCHOR NAME TYPE [NAME TYPE ...]. ANCHOR is a file, or "" for no
// DNSSEC. Writes one JSON object for each question; octets of TXT and TLSA records in hexadecimal.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/endpoint.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/resolver.h"

namespace {

using Json = nlohmann::ordered_json;

std::string hexadecimal(const std::string& octets) {
  std::string out;
  for (const char c : octets) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

struct ToJson {
  Json operator()(const io::AddressRecord& record) const {
    char text[INET6_ADDRSTRLEN] = "";
    return ::inet_ntop(record.family, record.octets.data(), text, sizeof text);
  }
  Json operator()(const io::MxRecord& record) const { return Json::array({record.preference, record.exchange}); }
  Json operator()(const io::PtrRecord& record) const { return record.name; }
  Json operator()(const io::TxtRecord& record) const { return hexadecimal(record.text); }
  Json operator()(const io::TlsaRecord& record) const {
    return Json::array({record.usage, record.selector, record.matching_type, hexadecimal(record.association)});
  }
};

Json as_json(const io::Lookup& answer) {
  if (!answer) {
    constexpr const char* words[] = {"no such name", "no data", "bogus", "failed"};
    return Json{{"outcome", words[static_cast<int>(answer.error().why)]},
                {"text", answer.error().text},
                {"ttl", answer.error().ttl.count()},
                {"secure", answer.error().secure}};
  }
  Json records = Json::array();
  for (const io::Record& record : answer->records) records.push_back(std::visit(ToJson(), record));
  return Json{{"outcome", "found"},
              {"records", records},
              {"ttl", answer->ttl.count()},
              {"secure", answer->secure},
              {"name", answer->name}};
}

io::RecordType type_of(const std::string& text) {
  using enum io::RecordType;
  for (const io::RecordType type : {a, ptr, mx, txt, aaaa, tlsa})
    if (to_string(type) == text) return type;
  throw std::runtime_error("no type: " + text);
}

io::Task<> ask_all(io::Resolver& resolver, std::vector<std::string> questions, io::EventLoop& loop) {
  io::Scope scope(loop);
  for (std::size_t i = 0; i + 1 < questions.size(); i += 2) {
    const io::RecordType type = type_of(questions.at(i + 1));
    const io::Lookup answer = co_await resolver.look_up(questions.at(i), type, scope, io::never);
    fmt::print("{}\n", as_json(answer).dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  loop.quit();
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> all(arguments + 1, arguments + count);
  if (all.size() < 4 || all.size() % 2 != 0) return 64;
  config::Dns settings;
  const auto where = config::parse_host_port(all[0]);
  const auto forwarder = where ? config::parse_literal(*where, all[0]) : std::unexpected(where.error());
  if (!forwarder || !*forwarder) return 64;
  settings.forwarders.push_back(**forwarder);
  settings.dnssec = !all[1].empty();
  settings.trust_anchor = all[1];
  io::EventLoop loop;
  io::UnboundResolver resolver(loop, settings, nullptr,
                               [](const std::string& said) { fmt::print(stderr, "{}\n", said); });
  loop.spawn(ask_all(resolver, {all.begin() + 2, all.end()}, loop));
  loop.run();
  loop.destroy_roots();
  return 0;
}
