#include "firewall/gate/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firewall/json.h"

namespace gate {
namespace {

using firewall::Node;

constexpr std::uint64_t most_number = 0xFFFF'FFFF;

Node node_of(const Listener& listener) {
  return Node::object()
      .add("name", Node::of(listener.name))
      .add("queue", Node::of(std::uint64_t{listener.queue}))
      .add("connections", Node::of(std::uint64_t{listener.connections}))
      .add("prefix_v4", Node::of(std::uint64_t{listener.prefix_v4}))
      .add("prefix_v6", Node::of(std::uint64_t{listener.prefix_v6}));
}

// Reads members; the first that is wrong is the error.
class Reader {
 public:
  std::uint32_t number(const Node& object, std::string_view key, std::uint64_t least, std::uint64_t most) {
    const Node* found = object.find(key);
    if (found != nullptr && found->is(Node::Kind::integer) && found->integer >= least && found->integer <= most)
      return static_cast<std::uint32_t>(found->integer);
    fail(fmt::format("{} must be a number from {} to {}", key, least, most));
    return 0;
  }
  Listener listener(const Node& node) {
    return {.name = firewall::text_at(node, "name"),
            .queue = static_cast<std::uint16_t>(number(node, "queue", 0, 0xFFFF)),
            .connections = number(node, "connections", 0, most_number),
            .prefix_v4 = number(node, "prefix_v4", 0, 32),
            .prefix_v6 = number(node, "prefix_v6", 0, 128)};
  }
  void fail(std::string why) {
    if (error.empty()) error = "the settings of the gate: " + std::move(why);
  }
  std::string error;
};

// Whoever is banned for his rate must have been there: a first packet may have anybody's address. So many more are
// taken that the proxy sees what it bans for; whoever never answers it uses them up and is banned for nothing.
std::uint32_t connections_of(const config::Listener& listener) {
  const std::uint64_t most = listener.max_client_connections, more = listener.bans.rate.after;
  if (most == 0 || listener.bans.rate.time.count() == 0) return listener.max_client_connections;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(most + more, most_number));
}

}  // namespace

Settings settings_of(const config::Config& config) {
  Settings settings;
  const config::Gate& gate = config.firewall.gate;
  settings.open = gate.on_failure == config::OnFailure::open;
  settings.length = gate.length;
  if (gate.queue == 0) return settings;
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::Listener& from = config.listeners[i];
    if (from.intercept == config::Intercept::none) continue;
    settings.listeners.push_back({.name = from.name,
                                  .queue = static_cast<std::uint16_t>(gate.queue + i),
                                  .connections = connections_of(from),
                                  .prefix_v4 = from.client_prefix_v4,
                                  .prefix_v6 = from.client_prefix_v6});
  }
  return settings;
}

std::string to_json(const Settings& settings) {
  Node listeners = Node::array();
  for (const Listener& each : settings.listeners) listeners.children.push_back(node_of(each));
  return config::format(Node::object()
                            .add("open", Node::of(settings.open))
                            .add("length", Node::of(std::uint64_t{settings.length}))
                            .add("uid", Node::of(std::uint64_t{settings.uid}))
                            .add("gid", Node::of(std::uint64_t{settings.gid}))
                            .add("listeners", std::move(listeners)));
}

std::expected<Settings, std::string> settings_from_json(std::string_view text) {
  const auto node = firewall::parse_json(text, "the settings of the gate");
  if (!node) return std::unexpected(node.error());
  Reader reader;
  Settings settings;
  const Node* open = node->find("open");
  if (open == nullptr || !open->is(Node::Kind::boolean)) reader.fail("open must be true or false");
  else settings.open = open->boolean;
  settings.length = reader.number(*node, "length", 1, most_number);
  settings.uid = reader.number(*node, "uid", 0, most_number);
  settings.gid = reader.number(*node, "gid", 0, most_number);
  std::set<std::uint16_t> queues;
  for (const Node& each : firewall::items_at(*node, "listeners")) {
    const Listener& listener = settings.listeners.emplace_back(reader.listener(each));
    if (!queues.insert(listener.queue).second)
      reader.fail(fmt::format("two listeners have the queue {}", listener.queue));
  }
  if (settings.listeners.empty()) reader.fail("there are no listeners");
  if (!reader.error.empty()) return std::unexpected(reader.error);
  return settings;
}

}  // namespace gate
