#include "scanner/io_trouble.h"

#include <dlfcn.h>
#include <linux/fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>

// No <fcntl.h>, <unistd.h> and <sys/mman.h> here: their fortified inline versions would clash with our definitions.
extern "C" long syscall(long number, ...) noexcept;

namespace scanner {
namespace {

IoTrouble trouble = IoTrouble::none;
int first_errno = 0;

void note(IoTrouble kind) {
  if (trouble == IoTrouble::none) first_errno = errno;
  if (kind > trouble) trouble = kind;
}

bool means_exhausted(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO || error == ENOSPC || error == EDQUOT;
}

long open_watched(int directory, const char* path, int flags, mode_t mode) {
  const long result = ::syscall(SYS_openat, directory, path, flags | O_LARGEFILE, mode);
  if (result < 0 && ((flags & O_CREAT) != 0 || means_exhausted(errno))) note(IoTrouble::storage);
  return result;
}

long write_watched(long result) {
  if (result < 0 && errno != EINTR && errno != EAGAIN) note(IoTrouble::storage);
  return result;
}

}  // namespace

void forget_io_trouble() { trouble = IoTrouble::none, first_errno = 0; }
IoTrouble io_trouble() { return trouble; }
int io_trouble_errno() { return first_errno; }

}  // namespace scanner

extern "C" {

ssize_t write(int fd, const void* octets, std::size_t count) {
  return scanner::write_watched(::syscall(SYS_write, fd, octets, count));
}

ssize_t pwrite64(int fd, const void* octets, std::size_t count, long offset) {
  return scanner::write_watched(::syscall(SYS_pwrite64, fd, octets, count, offset));
}

int ftruncate64(int fd, long length) noexcept {
  return static_cast<int>(scanner::write_watched(::syscall(SYS_ftruncate, fd, length)));
}

int open64(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
    std::va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  return static_cast<int>(scanner::open_watched(AT_FDCWD, path, flags, mode));
}

int mkdir(const char* path, mode_t mode) noexcept {
  const long result = ::syscall(SYS_mkdir, path, mode);
  if (result < 0 && errno != EEXIST) scanner::note(scanner::IoTrouble::storage);
  return static_cast<int>(result);
}

void* mmap64(void* address, std::size_t length, int protection, int flags, int fd, long offset) noexcept {
  const long result = ::syscall(SYS_mmap, address, length, protection, flags, fd, offset);
  if (result == -1 && (errno == ENOMEM || errno == EAGAIN)) scanner::note(scanner::IoTrouble::memory);
  return reinterpret_cast<void*>(result);
}

int dup(int fd) noexcept {
  const long result = ::syscall(SYS_dup, fd);
  if (result < 0 && scanner::means_exhausted(errno)) scanner::note(scanner::IoTrouble::storage);
  return static_cast<int>(result);
}

// stdio calls the kernel from inside libc, where nothing above is in the way.
size_t fwrite(const void* octets, size_t size, size_t count, FILE* file) {
  const size_t written = ::fwrite_unlocked(octets, size, count, file);
  if (written != count && size != 0) scanner::note(scanner::IoTrouble::storage);
  return written;
}

int fputs(const char* text, FILE* file) {
  const int result = ::fputs_unlocked(text, file);
  if (result == EOF) scanner::note(scanner::IoTrouble::storage);
  return result;
}

int fflush(FILE* file) {
  const int result = ::fflush_unlocked(file);
  if (result == EOF) scanner::note(scanner::IoTrouble::storage);
  return result;
}

int fclose(FILE* file) {
  static const auto close_file = reinterpret_cast<int (*)(FILE*)>(::dlsym(RTLD_NEXT, "fclose"));
  const int result = close_file(file);
  if (result == EOF) scanner::note(scanner::IoTrouble::storage);
  return result;
}
}
