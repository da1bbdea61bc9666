#include "proxy/admin/name_check.h"

#include <fmt/format.h>

#include <exception>

#include "proxy/io/address_cache.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/hosts_file.h"

namespace admin {
namespace {

struct Doubt {
  std::string downstream;
  config::Endpoint server;
  std::string why;  // empty: it has addresses
};

std::vector<Doubt> names_in(const config::Config& config) {
  std::vector<Doubt> names;
  for (const auto& [name, downstream] : config.downstreams)
    for (const config::Endpoint& server : downstream.servers)
      if (server.is_name()) names.push_back(Doubt{name, server, {}});
  return names;
}

class Survey {
 public:
  Survey(const config::Dns& dns, std::vector<Doubt>& names)
      : names_(names),
        left_(names.size()),
        resolver_(loop_, dns, hosts_of(dns), [](const std::string&) {}),
        cache_(loop_, resolver_, [](const std::string&) {}) {}
  ~Survey() { loop_.destroy_roots(); }

  void run() {
    for (Doubt& name : names_) loop_.spawn(ask(name));
    if (left_ > 0) loop_.run();
  }

 private:
  static std::shared_ptr<const io::HostsFile> hosts_of(const config::Dns& dns) {
    if (dns.hosts.empty()) return nullptr;
    auto hosts = io::HostsFile::read(dns.hosts);
    return hosts ? std::make_shared<const io::HostsFile>(std::move(*hosts)) : nullptr;
  }

  io::Task<> ask(Doubt& name) {
    io::Scope scope(loop_);
    const auto found = co_await cache_.addresses(name.server, scope, io::never);
    if (!found) name.why = found.error();
    if (--left_ == 0) loop_.quit();
  }

  std::vector<Doubt>& names_;
  std::size_t left_;
  io::EventLoop loop_;
  io::UnboundResolver resolver_;
  io::AddressCache cache_;
};

}  // namespace

std::vector<std::string> unresolved_servers(const config::Config& config) {
  std::vector<Doubt> names = names_in(config);
  if (names.empty()) return {};
  std::vector<std::string> sentences;
  try {
    Survey(config.dns, names).run();
  } catch (const std::exception& error) {
    sentences.push_back(fmt::format("names of servers could not be resolved: {}", error.what()));
  }
  for (const Doubt& name : names)
    if (!name.why.empty())
      sentences.push_back(fmt::format("/downstreams/{}/servers: {} has no address now ({})", name.downstream,
                                      name.server.host, name.why));
  return sentences;
}

}  // namespace admin
