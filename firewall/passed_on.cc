#include "firewall/passed_on.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "firewall/descriptor.h"

namespace firewall {
namespace {

constexpr std::size_t slot_size = 64, number_size = 8;

std::string file_of(const std::string& directory) { return directory + "/passed_on"; }

bool passes(const config::Listener& listener) {
  return listener.tls.mode == config::ListenerTlsMode::pass || !listener.tls.pass_sources.empty() ||
         !listener.tls.pass_destinations.empty();
}

// As it is in a slot.
std::string cut(const std::string& name) { return name.substr(0, slot_size - number_size - 1); }

}  // namespace

std::expected<std::unique_ptr<PassedOn>, std::string> PassedOn::create(const config::Config& config) {
  static_assert(sizeof(Slot) == slot_size && offsetof(Slot, name) == number_size &&
                std::atomic<std::uint64_t>::is_always_lock_free);
  const std::string& directory = config.firewall.state_directory;
  const std::string name = file_of(directory);
  const auto intercepts = [](const config::Listener& each) { return each.intercept != config::Intercept::none; };
  if (std::ranges::any_of(config.listeners, intercepts)) ::unlink(name.c_str());
  if (std::ranges::none_of(config.listeners, passes)) return nullptr;
  const auto failed = [&] { return std::unexpected(fmt::format("{}: {}", name, std::strerror(errno))); };
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return failed();
  const std::size_t count = config.listeners.size();
  const Descriptor file(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) return failed();
  // With all of its space: a write to a page that the file system has no room for would kill us.
  errno = ::posix_fallocate(file.get(), 0, static_cast<off_t>(count * slot_size));
  if (errno != 0) return failed();
  void* memory = ::mmap(nullptr, count * slot_size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return failed();
  Slot* const slots = static_cast<Slot*>(memory);
  for (std::size_t i = 0; i < count; ++i) {
    Slot* const slot = new (slots + i) Slot{};
    if (passes(config.listeners[i])) cut(config.listeners[i].name).copy(slot->name.data(), slot->name.size() - 1);
  }
  return std::unique_ptr<PassedOn>(new PassedOn(slots, count));
}

PassedOn::~PassedOn() { ::munmap(slots_, count_ * slot_size); }

void PassedOn::add(std::size_t listener) {
  if (listener < count_) slots_[listener].connections.fetch_add(1, std::memory_order_relaxed);
}

std::map<std::string, std::uint64_t> passed_on(const std::string& directory,
                                               const std::vector<std::string>& listeners) {
  std::map<std::string, std::uint64_t> found;
  const Descriptor file(::open(file_of(directory).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::array<char, slot_size> slot{};
  while (file && ::read(file.get(), slot.data(), slot.size()) == static_cast<ssize_t>(slot.size())) {
    std::uint64_t connections = 0;
    std::memcpy(&connections, slot.data(), number_size);
    slot.back() = '\0';
    const std::string name = slot.data() + number_size;
    const auto known = std::ranges::find(listeners, name, cut);
    if (known != listeners.end()) found[*known] = connections;
  }
  return found;
}

}  // namespace firewall
