#include "proxy/supervisor/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace supervisor {
namespace {

std::unexpected<std::string> trouble(std::string_view what) {
  return std::unexpected(fmt::format("cannot drop privileges: {}: {}", what, std::strerror(errno)));
}

// The bounding set, while we may: what is not in it can never be gained by exec.
void empty_bounding_set() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    ::prctl(PR_CAPBSET_DROP, capability);
}

bool set_no_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capset, &header, sets) == 0;  // the ambient set follows the permitted one
}

bool has_no_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  for (const auto& set : sets)
    if ((set.effective | set.permitted | set.inheritable) != 0) return false;
  return true;
}

bool is_only(const config::Account& account) {
  uid_t uids[3];
  gid_t gids[3];
  if (::getresuid(&uids[0], &uids[1], &uids[2]) != 0 || ::getresgid(&gids[0], &gids[1], &gids[2]) != 0) return false;
  for (const uid_t uid : uids)
    if (uid != account.uid) return false;
  for (const gid_t gid : gids)
    if (gid != account.gid) return false;
  return true;
}

std::expected<void, std::string> become(const config::Account& account) {
  if (account.uid == 0 || account.gid == 0) return std::unexpected("cannot drop privileges: the account is root");
  if (::setgroups(0, nullptr) != 0) return trouble("setgroups");
  if (::setresgid(account.gid, account.gid, account.gid) != 0) return trouble("setresgid");
  if (::setresuid(account.uid, account.uid, account.uid) != 0) return trouble("setresuid");
  if (!is_only(account) || ::setuid(0) == 0) return std::unexpected("cannot drop privileges: the old ones came back");
  return {};
}

}  // namespace

std::expected<void, std::string> drop_privileges(const config::Account& account) {
  if (::geteuid() == 0) {
    empty_bounding_set();
    if (auto done = become(account); !done) return done;
  }
  if (!set_no_capabilities() || !has_no_capabilities()) return trouble("capset");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return trouble("PR_SET_NO_NEW_PRIVS");
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return trouble("PR_SET_DUMPABLE");
  return {};
}

bool die_with(pid_t parent) { return ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == parent; }

bool may_write(const std::string& directory, const config::Account& account) {
  if (::geteuid() != 0) return ::access(directory.c_str(), W_OK | X_OK) == 0;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(become(account) && ::access(directory.c_str(), W_OK | X_OK) == 0 ? 0 : 1);
  int status = -1;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace supervisor
