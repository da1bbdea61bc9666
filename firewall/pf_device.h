// /dev/pf, for where connections went that an rdr rule of pf has taken (pf_natlook.h is the question). The supervisor opens
// it, the proxy asks. Not run on a BSD kernel; elsewhere there is none.
#pragma once

#include <sys/socket.h>

#include <expected>

namespace firewall {

inline constexpr const char* pf_path = "/dev/pf";

// The caller's; for reading, which is all that this question needs. The error is an errno, ENOTSUP on systems without pf.
std::expected<int, int> open_pf();

// `peer` and `local` are the two ends of an accepted connection. As pf_original_destination(); ENOTSUP as above.
std::expected<sockaddr_storage, int> ask_pf(int device, const sockaddr_storage& peer, const sockaddr_storage& local);

}  // namespace firewall
