#include "firewall/network_namespace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <thread>

namespace firewall {

std::expected<NetworkNamespace, std::string> NetworkNamespace::create() {
  Descriptor fd;
  int failure = 0;
  // Of the thread, which ends with it.
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) == 0) fd = Descriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!fd) failure = errno;
  }).join();
  if (!fd) return std::unexpected(fmt::format("cannot make a network namespace: {}", std::strerror(failure)));
  return NetworkNamespace(std::move(fd));
}

bool NetworkNamespace::inside(const std::function<void()>& what) const {
  bool entered = false;
  std::thread([&] {
    entered = ::setns(fd_.get(), CLONE_NEWNET) == 0;
    if (entered) what();
  }).join();
  return entered;
}

}  // namespace firewall
