// The floor for scanning: libclamav in a bare loop, one process, nothing around it. The messages are those of
// smtp_load (same seed, size or corpus). Each lies in a memfd before its clock starts; libclamav's own temporary files
// go to a tmpfs. Prints one JSON line.
#include <clamav.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <stdexcept>

#include "config/config.h"
#include "scanner/job.h"
#include "test/bench/content.h"
#include "test/bench/load_options.h"

namespace bench {
namespace {

constexpr const char* usage =
    "bare_scan --signatures FILE|DIR [--signatures ...] [options]\n"
    "  --messages N      (1000), after a warm-up of a twentieth of it\n"
    "  --size OCTETS     2K, 100K (2K); the same contents as smtp_load makes\n"
    "  --corpus DIR      scan the files of DIR in turn instead\n"
    "  --seed N          of the contents (1)\n"
    "  --rate R          messages per second, for the time a scan takes on an idle machine\n"
    "  --temporary DIR   for libclamav's temporary files (/dev/shm)\n";

double cpu_microseconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

void check(cl_error_t result, const char* what) {
  if (result != CL_SUCCESS) throw std::runtime_error(std::string(what) + ": " + cl_strerror(result));
}

// Same limits and flags as scanner/engine.cc sets with a default configuration, without its callbacks.
class Engine {
 public:
  explicit Engine(const LoadOptions& options);
  ~Engine() { cl_engine_free(engine_); }
  Engine(const Engine&) = delete;
  cl_error_t scan(int fd);

 private:
  void set(cl_engine_field field, std::uint64_t value) {
    check(cl_engine_set_num(engine_, field, static_cast<long long>(value)), "engine settings");
  }
  cl_engine* engine_;
  cl_scan_options flags_{};
};

Engine::Engine(const LoadOptions& options) {
  const config::Scanner defaults;
  check(cl_init(CL_INIT_DEFAULT), "cl_init");
  engine_ = cl_engine_new();
  if (!engine_) throw std::runtime_error("cl_engine_new");
  check(cl_engine_set_str(engine_, CL_ENGINE_TMPDIR, options.temporary.c_str()), "temporary directory");
  set(CL_ENGINE_MAX_SCANSIZE, defaults.max_scan_size);
  set(CL_ENGINE_MAX_FILESIZE, defaults.max_file_size);
  set(CL_ENGINE_MAX_RECURSION, defaults.max_recursion);
  set(CL_ENGINE_MAX_FILES, defaults.max_files);
  set(CL_ENGINE_PCRE_MATCH_LIMIT, 100'000);
  set(CL_ENGINE_PCRE_RECMATCH_LIMIT, 2'000);
  set(CL_ENGINE_PCRE_MAX_FILESIZE, defaults.max_file_size);
  set(CL_ENGINE_DISABLE_CACHE, 1);
  unsigned count = 0;
  for (const std::string& place : options.signatures)
    check(cl_load(place.c_str(), engine_, &count, CL_DB_STDOPT), place.c_str());
  if (count == 0) throw std::runtime_error("no signatures");
  check(cl_engine_compile(engine_), "cl_engine_compile");
  flags_.general = CL_SCAN_GENERAL_HEURISTICS | CL_SCAN_GENERAL_ALLMATCHES;
  flags_.parse = CL_SCAN_PARSE_ARCHIVE | CL_SCAN_PARSE_ELF | CL_SCAN_PARSE_PDF | CL_SCAN_PARSE_SWF |
                 CL_SCAN_PARSE_HWP3 | CL_SCAN_PARSE_XMLDOCS | CL_SCAN_PARSE_MAIL | CL_SCAN_PARSE_OLE2 |
                 CL_SCAN_PARSE_HTML | CL_SCAN_PARSE_PE | CL_SCAN_PARSE_ONENOTE | CL_SCAN_PARSE_IMAGE |
                 CL_SCAN_PARSE_IMAGE_FUZZY_HASH;
  flags_.heuristic =
      CL_SCAN_HEURISTIC_EXCEEDS_MAX | CL_SCAN_HEURISTIC_ENCRYPTED_ARCHIVE | CL_SCAN_HEURISTIC_ENCRYPTED_DOC;
}

cl_error_t Engine::scan(int fd) {
  const char* name = nullptr;
  unsigned long scanned = 0;
  return cl_scandesc_callback(fd, nullptr, &name, &scanned, engine_, &flags_, nullptr);
}

class MessageFile {
 public:
  MessageFile() : fd_(memfd_create("message", MFD_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error("memfd_create");
  }
  ~MessageFile() { close(fd_); }
  MessageFile(const MessageFile&) = delete;
  void fill(const std::string& content) {
    const std::string whole = std::string(scanner::synthetic_prefix) + content;
    if (ftruncate(fd_, 0) != 0 || pwrite(fd_, whole.data(), whole.size(), 0) != static_cast<ssize_t>(whole.size()))
      throw std::runtime_error(std::string("memfd: ") + std::strerror(errno));
    lseek(fd_, 0, SEEK_SET);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string content_of(const LoadOptions& options, const std::vector<std::string>& corpus, std::uint64_t index) {
  if (!corpus.empty()) return corpus[index % corpus.size()];
  std::string content;
  for (ContentStream stream(options.seed, index, options.size); !stream.ended();)
    stream.append_to(content, options.size);
  return content;
}

struct Result {
  std::uint64_t infected = 0, errors = 0;
  double cpu = 0;
  std::vector<float> times;
};

Result scan_all(const LoadOptions& options, Engine& engine) {
  std::vector<std::string> corpus;
  if (!options.corpus.empty()) corpus = load_corpus(options.corpus);
  using Clock = std::chrono::steady_clock;
  MessageFile file;
  Result result;
  const std::uint64_t warm_up = options.messages / 20 + 1;
  const auto start = Clock::now();
  for (std::uint64_t i = 0; i < warm_up + options.messages; ++i) {
    file.fill(content_of(options, corpus, i));
    if (options.rate > 0) {
      const auto due = start + std::chrono::duration<double>(static_cast<double>(i) / options.rate);
      const std::chrono::duration<double> left = due - Clock::now();
      if (left.count() > 0) usleep(static_cast<useconds_t>(left.count() * 1e6));
    }
    const auto began = Clock::now();
    const double cpu = cpu_microseconds();
    const cl_error_t outcome = engine.scan(file.fd());
    if (i < warm_up) continue;
    result.cpu += cpu_microseconds() - cpu;
    result.times.push_back(std::chrono::duration<float, std::micro>(Clock::now() - began).count());
    result.infected += outcome == CL_VIRUS ? 1 : 0;
    result.errors += outcome != CL_VIRUS && outcome != CL_CLEAN ? 1 : 0;
  }
  std::sort(result.times.begin(), result.times.end());
  return result;
}

int run(LoadOptions options) {
  if (options.signatures.empty() || options.messages == 0) throw std::runtime_error("--signatures is needed");
  std::string directory = options.temporary + "/bare-scan-XXXXXX";
  if (!mkdtemp(directory.data())) throw std::runtime_error("cannot make " + directory);
  options.temporary = directory;
  Result result;
  try {
    Engine engine(options);
    result = scan_all(options, engine);
  } catch (...) {
    std::filesystem::remove_all(directory);
    throw;
  }
  std::filesystem::remove_all(directory);
  std::printf(
      "{\"messages\": %zu, \"infected\": %llu, \"failures\": %llu, \"cpu_us_per_message\": %.2f, \"median_us\": %.1f, "
      "\"p90_us\": %.1f}\n",
      result.times.size(), static_cast<unsigned long long>(result.infected),
      static_cast<unsigned long long>(result.errors), result.cpu / static_cast<double>(result.times.size()),
      double{result.times[result.times.size() / 2]}, double{result.times[result.times.size() * 9 / 10]});
  return result.errors == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::run(bench::parse_options(argc, argv, bench::usage));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bare_scan: %s\n", error.what());
    return 70;
  }
}
