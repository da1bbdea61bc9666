#include "scanner/engine.h"

#include <clamav.h>
#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cstring>
#include <new>

#include "scanner/alert.h"
#include "scanner/io_trouble.h"

namespace scanner {
namespace {

constexpr std::size_t max_findings = 64;
constexpr std::uint64_t unzip_block = 8192;  // libclamav cuts a ZIP member at a multiple of this
constexpr std::string_view test_prefix = "Gatepost.Test.";

// What one scan saw; the context of all callbacks.
struct Scan {
  std::string_view engine;
  std::uint64_t max_file_size = 0;
  std::vector<Finding>* findings = nullptr;
};

bool out_of_memory = false;  // said by libclamav in a message only
bool loading = true;         // later libclamav's messages would be noise that a sender can make
std::string last_error;      // of libclamav while it loads

void add(const Scan& scan, Finding finding) {
  auto& all = *scan.findings;
  if (std::ranges::find(all, finding) != all.end()) return;
  if (all.size() < max_findings) all.push_back(std::move(finding));
  else if (finding.outcome > all.back().outcome) all.back() = std::move(finding);
}

void add_failure(const Scan& scan, Failure failure, std::string detail) {
  add(scan, {Outcome::error, Unscannable::none, failure, std::string(scan.engine), std::move(detail)});
}

void add_unscannable(const Scan& scan, Unscannable reason, std::string detail) {
  add(scan, {Outcome::unscannable, reason, Failure::none, std::string(scan.engine), std::move(detail)});
}

// The callbacks run inside C frames: nothing may be thrown through them.
void on_found(int, const char* name, void* context) noexcept try {
  const Scan& scan = *static_cast<Scan*>(context);
  add(scan, finding_of(scan.engine, std::string_view(name == nullptr ? "" : name).substr(0, 256)));
} catch (const std::bad_alloc&) {
  out_of_memory = true;
}

// The message itself, at depth 0, was measured by its content before it came here.
cl_error_t on_file(int, const char*, const char**, std::size_t, const char*, std::size_t size, const char*,
                   std::uint32_t depth, std::uint32_t, void* context) noexcept try {
  const Scan& scan = *static_cast<Scan*>(context);
  if (depth > 0 && size > scan.max_file_size)
    add_unscannable(scan, Unscannable::size, "file larger than max_file_size");
  return CL_CLEAN;
} catch (const std::bad_alloc&) {
  out_of_memory = true;
  return CL_CLEAN;
}

void on_message(cl_msg severity, const char*, const char* text, void*) noexcept {
  if (text == nullptr) return;
  if (std::strstr(text, "llocate memory") != nullptr || std::strstr(text, "ut of memory") != nullptr)
    out_of_memory = true;
  if (loading && severity == CL_MSG_ERROR && last_error.empty()) {
    last_error = text;
    while (!last_error.empty() && (last_error.back() == '\n' || last_error.back() == '.')) last_error.pop_back();
  }
}

int on_signature(const char*, const char* name, unsigned, void* context) noexcept {
  auto& test_signatures = *static_cast<std::uint64_t*>(context);
  if (name != nullptr && std::string_view(name).starts_with(test_prefix)) ++test_signatures;
  return 0;
}

void add_return_code(const Scan& scan, cl_error_t code) {
  const std::string text = cl_strerror(code);
  switch (code) {
    case CL_CLEAN:
    case CL_VIRUS:
      return;
    case CL_EMAXREC:
      return add_unscannable(scan, Unscannable::recursion, text);
    case CL_EMAXSIZE:
      return add_unscannable(scan, Unscannable::size, text);
    case CL_EMAXFILES:
      return add_unscannable(scan, Unscannable::files, text);
    case CL_ETIMEOUT:
      return add_unscannable(scan, Unscannable::time, text);
    case CL_EMEM:
      return add_failure(scan, Failure::memory, text);
    case CL_EOPEN:
    case CL_ECREAT:
    case CL_EUNLINK:
    case CL_ESTAT:
    case CL_EREAD:
    case CL_ESEEK:
    case CL_EWRITE:
    case CL_EDUP:
    case CL_EACCES:
    case CL_ETMPFILE:
    case CL_ETMPDIR:
    case CL_EMAP:
      return add_failure(scan, Failure::storage, text);
    default:
      return add_failure(scan, Failure::engine, text);
  }
}

void add_trouble(const Scan& scan) {
  if (out_of_memory || io_trouble() == IoTrouble::memory)
    return add_failure(scan, Failure::memory, "libclamav could not allocate memory");
  if (io_trouble() == IoTrouble::storage)
    add_failure(scan, Failure::storage, fmt::format("temporary file: {}", std::strerror(io_trouble_errno())));
}

cl_scan_options make_options() {
  cl_scan_options options{};
  options.general = CL_SCAN_GENERAL_HEURISTICS | CL_SCAN_GENERAL_ALLMATCHES;
  options.parse = CL_SCAN_PARSE_ARCHIVE | CL_SCAN_PARSE_ELF | CL_SCAN_PARSE_PDF | CL_SCAN_PARSE_SWF |
                  CL_SCAN_PARSE_HWP3 | CL_SCAN_PARSE_XMLDOCS | CL_SCAN_PARSE_MAIL | CL_SCAN_PARSE_OLE2 |
                  CL_SCAN_PARSE_HTML | CL_SCAN_PARSE_PE | CL_SCAN_PARSE_ONENOTE | CL_SCAN_PARSE_IMAGE |
                  CL_SCAN_PARSE_IMAGE_FUZZY_HASH;
  options.heuristic =
      CL_SCAN_HEURISTIC_EXCEEDS_MAX | CL_SCAN_HEURISTIC_ENCRYPTED_ARCHIVE | CL_SCAN_HEURISTIC_ENCRYPTED_DOC;
  return options;
}

// One sentence: what is wrong with `path`, and what to do.
std::string loading_failed(const std::string& path, cl_error_t code) {
  constexpr std::string_view next_step = "install clamav-freshclam and run freshclam";
  if (::access(path.c_str(), R_OK) != 0)
    return fmt::format("signatures cannot be read from {}: {}: {}, or correct the path", path, std::strerror(errno),
                       next_step);
  if (code == CL_SUCCESS || last_error.find("No supported database") != std::string::npos)
    return fmt::format("no signatures in {}: {}", path, next_step);
  return fmt::format("signatures in {} are broken ({}): {}", path, last_error.empty() ? cl_strerror(code) : last_error,
                     next_step);
}

}  // namespace

void Engine::Free::operator()(cl_engine* engine) const { cl_engine_free(engine); }

std::expected<Engine, std::string> Engine::load(const Settings& settings) {
  cl_set_clcb_msg(on_message);
  if (const cl_error_t code = cl_init(CL_INIT_DEFAULT); code != CL_SUCCESS)
    return std::unexpected(fmt::format("libclamav cannot start: {}", cl_strerror(code)));
  Engine engine;
  engine.engine_.reset(cl_engine_new());
  if (!engine.engine_) return std::unexpected("libclamav cannot start: out of memory");
  engine.name_ = settings.name;
  engine.apply_limits(settings);
  std::uint64_t test_signatures = 0;
  cl_engine_set_clcb_sigload(engine.engine_.get(), on_signature, &test_signatures);
  if (settings.signatures.empty()) return std::unexpected("no signatures are configured: give a file or a directory");
  for (const std::string& path : settings.signatures)
    if (auto loaded = engine.load_path(path); !loaded) return std::unexpected(loaded.error());
  last_error.clear();
  if (const cl_error_t code = cl_engine_compile(engine.engine_.get()); code != CL_SUCCESS)
    return std::unexpected(fmt::format("signatures of {} cannot be compiled: {}", settings.signatures.front(),
                                       last_error.empty() ? cl_strerror(code) : last_error));
  cl_engine_set_clcb_virus_found(engine.engine_.get(), on_found);
  cl_engine_set_clcb_file_inspection(engine.engine_.get(), on_file);
  const long long version = cl_engine_get_num(engine.engine_.get(), CL_ENGINE_DB_VERSION, nullptr);
  engine.hello_.version = version > 0 ? fmt::format("ClamAV {}, signatures {}", cl_retver(), version)
                                      : fmt::format("ClamAV {}", cl_retver());
  loading = false;
  engine.hello_.test_signatures_only = test_signatures == engine.hello_.signatures;
  return engine;
}

std::expected<void, std::string> Engine::load_path(const std::string& path) {
  last_error.clear();
  unsigned count = 0;
  const auto code = static_cast<cl_error_t>(cl_load(path.c_str(), engine_.get(), &count, CL_DB_STDOPT));
  if (code != CL_SUCCESS || count == 0) return std::unexpected(loading_failed(path, code));
  hello_.signatures += count;
  return {};
}

void Engine::apply_limits(const Settings& settings) {
  const auto set = [this](cl_engine_field field, std::uint64_t value) {
    if (value != 0) cl_engine_set_num(engine_.get(), field, static_cast<long long>(value));
  };
  // A member of a ZIP that is longer than libclamav's limit comes out cut at a multiple of unzip_block and unnoticed.
  // So libclamav's limit lies one block above ours, and on_file sees everything that is longer than ours.
  max_file_size_ = file_size_limit(settings);
  set(CL_ENGINE_MAX_FILESIZE, (max_file_size_ / unzip_block + 2) * unzip_block);
  set(CL_ENGINE_MAX_SCANSIZE, settings.max_scan_size);
  set(CL_ENGINE_MAX_RECURSION, settings.max_recursion);
  set(CL_ENGINE_MAX_FILES, settings.max_files);
  set(CL_ENGINE_PCRE_MATCH_LIMIT, 100'000);
  set(CL_ENGINE_PCRE_RECMATCH_LIMIT, 2'000);
  set(CL_ENGINE_PCRE_MAX_FILESIZE, max_file_size_);
  set(CL_ENGINE_DISABLE_CACHE, 1);  // mail rarely repeats: hashing every part costs more than the cache saves
}

bool Engine::use_temporary_directory(const std::string& directory) {
  return cl_engine_set_str(engine_.get(), CL_ENGINE_TMPDIR, directory.c_str()) == CL_SUCCESS;
}

void Engine::scan(std::string_view message, std::uint32_t limit_ms, std::vector<Finding>& findings) {
  if (message.empty()) return;
  const std::uint32_t scan_time = std::max(1u, limit_ms - limit_ms / 8);
  if (scan_time != scan_time_ms_) cl_engine_set_num(engine_.get(), CL_ENGINE_MAX_SCANTIME, scan_time);
  scan_time_ms_ = scan_time;
  forget_io_trouble();
  out_of_memory = false;
  Scan scan{name_, max_file_size_, &findings};
  cl_fmap_t* map = cl_fmap_open_memory(message.data(), message.size());
  if (map == nullptr) return add_failure(scan, Failure::memory, "libclamav cannot map the message");
  static cl_scan_options options = make_options();
  const char* name = nullptr;
  unsigned long scanned = 0;
  const cl_error_t code = cl_scanmap_callback(map, nullptr, &name, &scanned, engine_.get(), &options, &scan);
  cl_fmap_close(map);
  if (code == CL_VIRUS && std::ranges::none_of(findings, [](const Finding& f) { return f.outcome != Outcome::clean; }))
    on_found(-1, name, &scan);
  add_return_code(scan, code);
  add_trouble(scan);
}

}  // namespace scanner
