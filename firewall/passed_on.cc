#include "firewall/passed_on.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <sstream>

#include "firewall/descriptor.h"

namespace firewall {
namespace {

constexpr std::size_t longest_file = 1 << 20;

std::string file_of(const std::string& directory) { return directory + "/passed_on"; }

bool passes(const config::Listener& listener) {
  return listener.tls.mode == config::ListenerTlsMode::pass || !listener.tls.pass_sources.empty() ||
         !listener.tls.pass_destinations.empty();
}

std::unexpected<std::string> failed(const std::string& name) {
  return std::unexpected(fmt::format("{}: {}", name, std::strerror(errno)));
}

// Nullptr with errno. No descriptor of it is left, and no other way to make it shorter under those who have mapped it.
void* shared_memory(std::size_t octets) {
  const Descriptor file(::memfd_create("gatepost-passed-on", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(octets)) != 0 || ::fcntl(file.get(), F_ADD_SEALS, seals) != 0)
    return nullptr;
  void* memory = ::mmap(nullptr, octets, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

std::expected<std::unique_ptr<PassedOn>, std::string> PassedOn::create(const config::Config& config) {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  const std::string& directory = config.firewall.state_directory;
  const std::string name = file_of(directory);
  const auto intercepts = [](const config::Listener& each) { return each.intercept != config::Intercept::none; };
  if (std::ranges::any_of(config.listeners, intercepts)) ::unlink(name.c_str());
  if (std::ranges::none_of(config.listeners, passes)) return nullptr;
  if (::mkdir(directory.c_str(), 0755) != 0 ? errno != EEXIST : ::chmod(directory.c_str(), 0755) != 0)
    return failed(name);
  std::vector<std::string> names;
  for (const config::Listener& each : config.listeners) names.push_back(passes(each) ? each.name : "");
  void* const memory = shared_memory(names.size() * sizeof(Slot));
  if (memory == nullptr) return failed("memory for it");
  Slot* const slots = static_cast<Slot*>(memory);
  for (std::size_t i = 0; i < names.size(); ++i) new (slots + i) Slot{};
  std::unique_ptr<PassedOn> made(new PassedOn(name, std::move(names), slots));
  if (auto saved = made->save(); !saved) return std::unexpected(std::move(saved.error()));
  return made;
}

PassedOn::~PassedOn() { ::munmap(slots_, names_.size() * sizeof(Slot)); }

void PassedOn::add(std::size_t listener) {
  if (listener < names_.size()) slots_[listener].connections.fetch_add(1, std::memory_order_relaxed);
}

std::expected<void, std::string> PassedOn::save() {
  std::string text;  // a line each: the name, which has no space in it, and the number
  for (std::size_t i = 0; i < names_.size(); ++i)
    if (!names_[i].empty())
      text += fmt::format("{} {}\n", names_[i], slots_[i].connections.load(std::memory_order_relaxed));
  if (text == saved_) return {};
  const std::string fresh = file_ + ".new";
  ::unlink(fresh.c_str());
  const Descriptor file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) return failed(file_);
  errno = ENOSPC;  // where it takes less than all
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fchmod(file.get(), 0644) != 0 || ::rename(fresh.c_str(), file_.c_str()) != 0) {
    auto why = failed(file_);
    ::unlink(fresh.c_str());
    return why;
  }
  saved_ = std::move(text);
  return {};
}

std::map<std::string, std::uint64_t> passed_on(const std::string& directory,
                                               const std::vector<std::string>& listeners) {
  const Descriptor file(::open(file_of(directory).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::string text;
  std::array<char, 4096> piece{};
  for (ssize_t n = 0; file && text.size() < longest_file && (n = ::read(file.get(), piece.data(), piece.size())) > 0;)
    text.append(piece.data(), static_cast<std::size_t>(n));
  std::map<std::string, std::uint64_t> found;
  std::istringstream lines(text);
  std::string name;
  for (std::uint64_t connections = 0; lines >> name >> connections;)
    if (std::ranges::find(listeners, name) != listeners.end()) found[name] = connections;
  return found;
}

}  // namespace firewall
