#include "proxy/supervisor/scanner_program.h"

#include <unistd.h>

namespace supervisor {

scanner::Settings scanner_settings(const config::Config& config, const config::Scanner& from) {
  scanner::Settings settings;
  settings.name = from.name;
  settings.signatures = from.signatures;
  settings.workers = from.workers;
  settings.queue = from.queue;
  settings.scan_limit_ms = static_cast<std::uint32_t>(config.limits.scan_limit.count());
  settings.memory_limit = from.memory;
  settings.max_scan_size = from.max_scan_size;
  settings.max_file_size = from.max_file_size;
  settings.max_recursion = from.max_recursion;
  settings.max_files = from.max_files;
  settings.test_hooks = from.test_hooks;
  if (::geteuid() == 0) {
    settings.uid = config.scanner_account.uid;
    settings.gid = config.scanner_account.gid;
  }
  return settings;
}

std::expected<Program, std::string> start_scanner(const scanner::Settings& settings, unsigned sockets) {
  return start_program({"the scanner", "gatepost-scanner", "GATEPOST_SCANNER", "../scanner"}, encode(settings),
                       sockets);
}

}  // namespace supervisor
