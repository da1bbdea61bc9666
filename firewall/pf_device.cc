#include "firewall/pf_device.h"

#include <cerrno>

#if __has_include(<net/pfvar.h>)

#include <fcntl.h>
#include <sys/types.h>

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <net/if.h>
#include <net/pfvar.h>

#include "firewall/pf_natlook.h"

namespace firewall {

std::expected<int, int> open_pf() {
  const int device = ::open(pf_path, O_RDONLY | O_CLOEXEC);
  if (device < 0) return std::unexpected(errno);
  return device;
}

std::expected<sockaddr_storage, int> ask_pf(int device, const sockaddr_storage& peer, const sockaddr_storage& local) {
  return pf_original_destination<pfioc_natlook>(
      peer, local, [device](pfioc_natlook& question) { return ::ioctl(device, DIOCNATLOOK, &question); });
}

}  // namespace firewall

#else

namespace firewall {

std::expected<int, int> open_pf() { return std::unexpected(ENOTSUP); }

std::expected<sockaddr_storage, int> ask_pf(int, const sockaddr_storage&, const sockaddr_storage&) {
  return std::unexpected(ENOTSUP);
}

}  // namespace firewall

#endif
