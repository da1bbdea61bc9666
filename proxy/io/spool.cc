#include "proxy/io/spool.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "proxy/io/write_file.h"

namespace io {
namespace {

constexpr std::size_t write_at = 262144; // octets collected before a write to the file

SpoolError from_errno(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG ? SpoolError::full : SpoolError::failed;
}

std::expected<void, SpoolError> write(int fd, std::string_view first, std::string_view second = {}) {
  if (!write_file(fd, first, second)) return std::unexpected(from_errno(errno));
  return {};
}

}  // namespace

SpoolSpace::SpoolSpace(std::string directory, std::uint64_t memory_per_message, std::uint64_t memory_total,
                       std::string prefix)
    : directory_(std::move(directory)), per_message_(memory_per_message), total_(memory_total),
      prefix_(std::move(prefix)) {}

std::string_view to_string(SpoolError error) {
  return error == SpoolError::full ? "no space left in the spool" : "the spool failed";
}

Spool::Spool(SpoolSpace& space)
    : space_(space), hashing_(nullptr, [](XXH3_state_s* state) { XXH3_freeState(state); }),
      prefix_size_(space.prefix_.size()) {}

Spool::~Spool() { space_.used_.fetch_sub(accounted_, std::memory_order_relaxed); }

void Spool::account() {
  const std::uint64_t now = pending_.capacity() > sizeof(std::string) ? pending_.capacity() : 0;
  space_.used_.fetch_add(now - accounted_, std::memory_order_relaxed);
  accounted_ = now;
}

std::expected<void, SpoolError> Spool::commit() {
  if (size_ == 0 && !pending_.empty()) first_ = pending_.front();
  size_ += pending_.size() - hashed_;
  if (!file_) {
    hashed_ = pending_.size();
    account();
    if (pending_.size() <= space_.per_message_ && space_.memory_used() <= space_.total_) return {};
    return move_to_file();
  }
  // Hashing follows the writes, so that each octet is touched while it is in the cache.
  const auto added = std::string_view(pending_).substr(hashed_);
  XXH3_128bits_update(hashing_.get(), added.data(), added.size());
  hashed_ = pending_.size();
  if (pending_.size() < write_at) return {};
  return write_pending();
}

std::expected<void, SpoolError> Spool::write_pending() {
  auto written = write(file_.get(), pending_);
  pending_.clear();
  hashed_ = 0;
  return written;
}

std::expected<void, SpoolError> Spool::move_to_file() {
  hashing_.reset(XXH3_createState());
  if (!hashing_) return std::unexpected(SpoolError::failed);
  file_.reset(::open(space_.directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
  if (!file_) return std::unexpected(from_errno(errno));
  XXH3_128bits_reset(hashing_.get());
  XXH3_128bits_update(hashing_.get(), pending_.data(), pending_.size());
  const auto written = write(file_.get(), space_.prefix_, pending_);
  std::string().swap(pending_);
  pending_.reserve(write_at + 65536);
  hashed_ = 0;
  account();
  return written;
}

std::expected<void, SpoolError> Spool::finish() {
  if (auto committed = commit(); !committed) return committed;
  if (!file_) return {};
  auto written = write_pending();
  std::string().swap(pending_);
  account();
  return written;
}

std::array<std::uint64_t, 2> Spool::hash() const {
  const XXH128_hash_t hash = file_ ? XXH3_128bits_digest(hashing_.get()) : XXH3_128bits(pending_.data(), pending_.size());
  return {hash.low64, hash.high64};
}

std::expected<void, SpoolError> Spool::make_memfd() {
  shared_.reset(::memfd_create("gatepost-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!shared_) return std::unexpected(from_errno(errno));
  if (auto written = write(shared_.get(), space_.prefix_, pending_); !written) return written;
  if (::fcntl(shared_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return std::unexpected(SpoolError::failed);
  return {};
}

std::expected<int, SpoolError> Spool::shared_descriptor() {
  if (shared_) return shared_.get();
  if (!file_) {
    if (auto made = make_memfd(); !made) {
      shared_.reset();
      return std::unexpected(made.error());
    }
    return shared_.get();
  }
  shared_.reset(::open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!shared_) return std::unexpected(from_errno(errno));
  return shared_.get();
}

}  // namespace io
