#include "firewall/gate/confinement.h"

#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace gate {
namespace {

std::unexpected<std::string> trouble(std::string_view what, int error) {
  return std::unexpected(fmt::format("cannot drop privileges: {}: {}", what, std::strerror(error)));
}

bool become(std::uint32_t uid, std::uint32_t gid) {
  return ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && ::setgroups(0, nullptr) == 0 && ::setresgid(gid, gid, gid) == 0 &&
         ::setresuid(uid, uid, uid) == 0 && ::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0;
}

bool set_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  sets[CAP_TO_INDEX(CAP_NET_ADMIN)].effective = sets[CAP_TO_INDEX(CAP_NET_ADMIN)].permitted =
      CAP_TO_MASK(CAP_NET_ADMIN);
  return ::syscall(SYS_capset, &header, sets) == 0;
}

constexpr int allowed[] = {
    SCMP_SYS(recvmmsg),       SCMP_SYS(recvfrom),     SCMP_SYS(recvmsg),         SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),        SCMP_SYS(read),         SCMP_SYS(write),           SCMP_SYS(close),
    SCMP_SYS(poll),           SCMP_SYS(ppoll),        SCMP_SYS(clock_gettime),   SCMP_SYS(brk),
    SCMP_SYS(munmap),         SCMP_SYS(mremap),       SCMP_SYS(madvise),         SCMP_SYS(futex),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),         SCMP_SYS(gettid),       SCMP_SYS(tgkill),          SCMP_SYS(exit),
    SCMP_SYS(exit_group),     SCMP_SYS(pread64)};

}  // namespace

std::expected<void, std::string> keep_net_admin_alone(std::uint32_t uid, std::uint32_t gid) {
  if (::geteuid() == 0)
    for (int each = 0; ::prctl(PR_CAPBSET_READ, each) >= 0; ++each)
      if (::prctl(PR_CAPBSET_DROP, each) != 0) return trouble("the bounding set", errno);
  if (uid != 0 && gid == 0) return std::unexpected("cannot drop privileges: the group is root's");
  if (uid != 0 && ::geteuid() != uid && !become(uid, gid)) return trouble("the account", errno);
  if (!set_capabilities()) return trouble("CAP_NET_ADMIN is missing", errno);
  if (uid != 0 && ::setuid(0) == 0) return std::unexpected("cannot drop privileges: the old ones came back");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return trouble("PR_SET_NO_NEW_PRIVS", errno);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return trouble("PR_SET_DUMPABLE", errno);
  return {};
}

std::expected<void, std::string> filter_system_calls() {
  const auto release = [](void* filter) { ::seccomp_release(filter); };
  const std::unique_ptr<void, decltype(release)> filter(::seccomp_init(SCMP_ACT_KILL_PROCESS), release);
  if (!filter) return trouble("seccomp", ENOMEM);
  for (const int each : allowed)
    if (const int error = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, each, 0); error != 0)
      return trouble("seccomp", -error);
  // Memory that is neither of a file nor executable.
  const scmp_arg_cmp not_executable{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
  const scmp_arg_cmp anonymous{3, SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS};
  if (const int error = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, not_executable, anonymous);
      error != 0)
    return trouble("seccomp", -error);
  if (const int error = ::seccomp_load(filter.get()); error != 0) return trouble("seccomp", -error);
  return {};
}

}  // namespace gate
