#include "proxy/supervisor/window.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>

#include "scanner/packet_socket.h"

namespace supervisor {
namespace {

[[noreturn]] void give_up(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

template <std::size_t Size>
void copy(std::array<char, Size>& to, std::string_view from) {
  to[from.copy(to.data(), Size - 1)] = '\0';
}

}  // namespace

Window::Window(unsigned loops, unsigned per_loop) : slots_(nullptr), loops_(loops), per_loop_(per_loop) {
  const std::size_t octets = sizeof(WindowSlot) * loops * per_loop;
  const scanner::OwnedFd file(memfd_create("gatepost-window", MFD_CLOEXEC));
  if (!file || ftruncate(file.get(), static_cast<off_t>(octets)) != 0) give_up("window");
  void* memory = mmap(nullptr, octets, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) give_up("window");
  // Fresh pages are zero, and that is an unused slot; constructing them here would touch all of them.
  slots_ = std::launder(static_cast<WindowSlot*>(memory));
}

Window::~Window() { munmap(slots_, sizeof(WindowSlot) * loops_ * per_loop_); }

// The first free slot: few messages are in flight at once, so the search is short and few pages are touched.
WindowSlot* Window::open(unsigned loop, const EndOfData& end) {
  if (loop >= loops_) return nullptr;
  WindowSlot* const first = slots_ + std::size_t{loop} * per_loop_;
  WindowSlot* const slot =
      std::find_if(first, first + per_loop_, [](const WindowSlot& one) { return one.used.load() == 0; });
  if (slot == first + per_loop_) return nullptr;
  slot->size = end.size;
  slot->hash = end.hash;
  copy(slot->trace_id, end.trace_id);
  copy(slot->client, end.client);
  copy(slot->listener, end.listener);
  copy(slot->direction, end.direction);
  copy(slot->downstream, end.downstream);
  slot->used.store(1, std::memory_order_release);
  return slot;
}

void Window::close(WindowSlot* slot) {
  if (slot != nullptr) slot->used.store(0, std::memory_order_release);
}

bool Window::in_use() const {
  return std::any_of(slots_, slots_ + std::size_t{loops_} * per_loop_,
                     [](const WindowSlot& slot) { return slot.used.load(std::memory_order_acquire) != 0; });
}

void Window::sweep(const std::function<void(const WindowSlot&)>& seen) {
  for (WindowSlot* slot = slots_; slot != slots_ + std::size_t{loops_} * per_loop_; ++slot) {
    if (slot->used.load(std::memory_order_acquire) == 0) continue;
    // Whoever died may have written anything.
    slot->trace_id.back() = slot->client.back() = slot->listener.back() = slot->direction.back() = slot->downstream.back() = '\0';
    seen(*slot);
    close(slot);
  }
}

}  // namespace supervisor
