// gatepost: wiring only.
#include <fcntl.h>
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <csignal>
#include <exception>

#include "proxy/admin/arguments.h"
#include "proxy/admin/commands.h"
#include "proxy/serve.h"

namespace {

// A descriptor of ours must never become number 0, 1 or 2. Reading from a closed standard input stays an error.
void fill_standard_streams() {
  int fd = 0;
  while ((fd = ::open("/dev/null", O_WRONLY)) >= 0 && fd <= STDERR_FILENO) {
  }
  if (fd >= 0) ::close(fd);
}

int run(const admin::Arguments& arguments) {
  using Command = admin::Arguments::Command;
  switch (arguments.command) {
    case Command::serve:
      return admin::serve_command(arguments, run_proxy);
    case Command::check:
      return admin::check_command(arguments);
    case Command::config:
      return admin::config_command(arguments);
    case Command::scan:
      return admin::scan_command(arguments);
    case Command::firewall:
      return admin::firewall_command(arguments);
    case Command::bans:
      return admin::bans_command(arguments);
  }
  return EX_SOFTWARE;
}

}  // namespace

int main(int count, char** words) try {
  fill_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);
  const auto arguments = admin::parse_arguments(count, words);
  return arguments ? run(*arguments) : arguments.error();
} catch (const std::exception& error) {
  fmt::print(stderr, "gatepost: {}\n", error.what());
  return EX_SOFTWARE;
}
