// scan FILE...: each file as a message's content, with the synthetic line in front, as the proxy presents it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "proxy/admin/commands.h"
#include "proxy/admin/embedded.h"
#include "proxy/admin/escape.h"
#include "proxy/admin/private_scanner.h"
#include "proxy/io/write_file.h"
#include "proxy/supervisor/scanner_program.h"

namespace admin {
namespace {

using scanner::Outcome;
using scanner::OwnedFd;

constexpr int exit_found = 1, exit_other = 2;
constexpr off_t in_memory = 32 << 20;  // octets; larger files are copied to a disk
constexpr std::uint32_t limit_ms = 300'000;
constexpr const char* installed_signatures = "/var/lib/clamav";

// What there is to scan.
struct Presented {
  OwnedFd file;
  std::uint64_t size = 0;
};

std::string temporary_root() {
  const char* named = std::getenv("TMPDIR");
  return named != nullptr && *named == '/' ? named : "/var/tmp";
}

OwnedFd unnamed_file(off_t expected) {
  if (expected <= in_memory) return OwnedFd(::memfd_create("gatepost-scan", MFD_CLOEXEC));
  return OwnedFd(::open(temporary_root().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

std::unexpected<std::string> trouble(std::string_view what) {
  return std::unexpected(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Of a file longer than `most` octets no more is read than shows that: it would not be scanned.
std::expected<Presented, std::string> present(const std::string& name, std::uint64_t most) {
  const OwnedFd from(name == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                 : ::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!from || ::fstat(from.get(), &status) != 0) return trouble("cannot open");
  if (S_ISDIR(status.st_mode)) return std::unexpected("is a directory");
  Presented out;
  out.file = unnamed_file(S_ISREG(status.st_mode) ? status.st_size : 0);
  if (!out.file || !io::write_file(out.file.get(), scanner::synthetic_prefix)) return trouble("no room for a copy");
  static char space[1 << 16];
  while (out.size <= most) {
    const ssize_t n = ::read(from.get(), space, sizeof space);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return trouble("cannot read");
    if (n == 0) break;
    if (!io::write_file(out.file.get(), {space, static_cast<std::size_t>(n)})) return trouble("no room for a copy");
    out.size += static_cast<std::uint64_t>(n);
  }
  return out;
}

// The word for the outcome: clean, infected(NAME), unscannable(encrypted), error(crashed: detail).
std::string in_words(const scanner::Report& report) {
  const scanner::Finding* finding = report.decisive();
  std::string text(scanner::to_string(report.outcome()));
  if (finding == nullptr) return text;
  std::string inside(finding->outcome == Outcome::unscannable ? scanner::to_string(finding->unscannable)
                     : finding->outcome == Outcome::error     ? scanner::to_string(finding->failure)
                                                              : std::string_view());
  if (!finding->name.empty()) inside += (inside.empty() ? "" : ": ") + finding->name;
  return inside.empty() ? text : fmt::format("{}({})", text, inside);
}

std::string in_json(const std::string& file, const scanner::Report& report) {
  std::string findings;
  for (const scanner::Finding& one : report.findings)
    findings += fmt::format("{}{{\"outcome\":{},\"reason\":{},\"engine\":{},\"name\":{}}}", findings.empty() ? "" : ",",
                            json_string(scanner::to_string(one.outcome)),
                            json_string(one.outcome == Outcome::error ? scanner::to_string(one.failure)
                                                                      : scanner::to_string(one.unscannable)),
                            json_string(one.engine), json_string(one.name));
  return fmt::format("{{\"file\":{},\"outcome\":{},\"findings\":[{}]}}\n", json_string(file),
                     json_string(scanner::to_string(report.outcome())), findings);
}

int status_of(const scanner::Report& report) {
  switch (report.outcome()) {
    case Outcome::clean:
      return EX_OK;
    case Outcome::infected:
    case Outcome::suspicious:
      return exit_found;
    default:
      return exit_other;
  }
}

int scan_one(PrivateScanner& with, const std::string& name, std::uint64_t most, bool json) {
  auto content = present(name, most);
  scanner::Report report = content ? with.scan(content->file.get(), content->size, limit_ms)
                                   : scanner::failed(0, scanner::Failure::storage, content.error());
  std::string shown;
  if (json) {
    shown = in_json(name, report);
  } else {
    append_text(shown, name, 8192);
    shown += ": ";
    append_text(shown, in_words(report), 2048);
    shown += '\n';
  }
  return print(shown) ? status_of(report) : EX_IOERR;
}

bool has_signatures(const char* directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const auto extension = entry.path().extension();
    if (extension == ".cvd" || extension == ".cld" || extension == ".ndb" || extension == ".hdb") return true;
  }
  return false;
}

// A directory with the test signatures, while it lives.
class TestSignatures {
 public:
  TestSignatures() {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
    else if (::chmod(path_.c_str(), 0755) != 0 || !write_test_signatures(path_ + "/signatures")) remove();
  }
  TestSignatures(const TestSignatures&) = delete;
  TestSignatures& operator=(const TestSignatures&) = delete;
  ~TestSignatures() { remove(); }
  std::string directory() const { return path_.empty() ? path_ : path_ + "/signatures"; }

 private:
  void remove() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    path_.clear();
  }
  std::string path_ = "/tmp/gatepost-signatures.XXXXXX";
};

// Nothing after the errors were said.
std::optional<scanner::Settings> settings_from(const Arguments& arguments) {
  scanner::Settings settings;
  if (!arguments.config.empty()) {
    const auto loaded = load_or_complain(arguments.config);
    if (!loaded) return std::nullopt;
    if (!loaded->config->scanners.empty())
      return supervisor::scanner_settings(*loaded->config, loaded->config->scanners.front());
    fmt::print(stderr, "gatepost: {} has no scanners\n", arguments.config);
    return std::nullopt;
  }
  for (const std::string& path : arguments.signatures)
    settings.signatures.push_back(std::filesystem::absolute(path).string());
  // Untrusted files are not for root.
  if (::geteuid() == 0) settings.uid = settings.gid = embedded_scanner_uid;
  if (settings.signatures.empty() && has_signatures(installed_signatures)) settings.signatures = {installed_signatures};
  return settings;
}

}  // namespace

int scan_command(const Arguments& arguments) {
  auto settings = settings_from(arguments);
  if (!settings) return exit_other;
  std::optional<TestSignatures> own;
  if (settings->signatures.empty()) {
    settings->signatures = {own.emplace().directory()};
    fmt::print(stderr, "gatepost: {} has no signatures. {}\n", installed_signatures, test_signatures_warning);
  }
  settings->scan_limit_ms = limit_ms;
  settings->workers = 1;  // one file at a time
  auto with = PrivateScanner::start(*settings);
  if (!with) {
    fmt::print(stderr, "gatepost: {}\n", with.error());
    return exit_other;
  }
  int worst = EX_OK;
  bool found = false;
  for (const std::string& name : arguments.files) {
    const int status = scan_one(*with, name, file_size_limit(*settings), arguments.json);
    found = found || status == exit_found;
    worst = std::max(worst, status == EX_IOERR ? exit_other : status);
  }
  return found ? exit_found : worst;
}

}  // namespace admin
