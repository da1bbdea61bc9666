#include "firewall/diverted.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace firewall {
namespace {

// Not those that wait for nothing but the other end's FIN, or for the last packets to die.
constexpr std::uint32_t states = 1U << TCP_ESTABLISHED | 1U << TCP_SYN_SENT | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 |
                                 1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING;

struct Count {
  const Plan& plan;
  Diverted clients{}, servers{};
  bool untold = false;  // which sockets have addresses of others
};

int note_transparent(const nlattr* attribute, void* transparent) {
  if (mnl_attr_get_type(attribute) == INET_DIAG_SOCKOPT &&
      mnl_attr_get_payload_len(attribute) >= sizeof(inet_diag_sockopt))
    *static_cast<std::optional<bool>*>(transparent) =
        static_cast<const inet_diag_sockopt*>(mnl_attr_get_payload(attribute))->transparent != 0;
  return MNL_CB_OK;
}

int count_socket(const nlmsghdr* message, void* data) {
  Count& count = *static_cast<Count*>(data);
  if (mnl_nlmsg_get_payload_len(message) < sizeof(inet_diag_msg)) return MNL_CB_OK;
  const auto& socket = *static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(message));
  std::optional<bool> transparent;
  mnl_attr_parse(message, sizeof socket, note_transparent, &transparent);
  if (!transparent && socket.idiag_state == TCP_ESTABLISHED) count.untold = true;  // others never have it
  const std::uint16_t here = ntohs(socket.id.idiag_sport), there = ntohs(socket.id.idiag_dport);
  const auto meant = [&](std::uint16_t port) {
    return transparent.value_or(false) && std::ranges::any_of(count.plan.diversions, [port](const Diversion& each) {
             return each.way != config::Intercept::redirect && std::ranges::count(each.ports, port) != 0;
           });
  };
  const bool redirected = std::ranges::any_of(count.plan.diversions, [here](const Diversion& each) {
    return each.way == config::Intercept::redirect && each.port == here;
  });
  const bool client = redirected || meant(here);
  if (!client && !meant(there)) return MNL_CB_OK;
  Diverted& side = client ? count.clients : count.servers;
  ++(socket.idiag_inode != 0 ? side.served : side.left);
  return MNL_CB_OK;
}

bool ask(const mnl_socket* kernel, std::uint8_t family) {
  std::array<char, 256> space{};
  nlmsghdr* const message = mnl_nlmsg_put_header(space.data());
  message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto& request = *static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(message, sizeof(inet_diag_req_v2)));
  request.sdiag_family = family;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = states;
  return mnl_socket_sendto(kernel, message, message->nlmsg_len) >= 0;
}

}  // namespace

std::optional<Diverted> diverted_connections(const Plan& plan) {
  const std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> kernel(mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC),
                                                                 mnl_socket_close);
  Count count{plan};
  constexpr std::size_t most_at_once = 32768;
  std::array<char, most_at_once> answer{};
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    if (!kernel || !ask(kernel.get(), family)) return std::nullopt;
    for (int more = MNL_CB_OK; more == MNL_CB_OK;) {
      const auto length = mnl_socket_recvfrom(kernel.get(), answer.data(), answer.size());
      if (length < 0) return std::nullopt;
      more = mnl_cb_run(answer.data(), static_cast<std::size_t>(length), 0, 0, count_socket, &count);
      if (more == MNL_CB_ERROR) return std::nullopt;
    }
  }
  const bool matters = std::ranges::any_of(
      plan.diversions, [](const Diversion& each) { return each.way != config::Intercept::redirect; });
  if (count.untold && matters) return std::nullopt;
  return Diverted{.served = std::max(count.clients.served, count.servers.served),
                  .left = std::max(count.clients.left, count.servers.left)};
}

}  // namespace firewall
