#include "proxy/io/tls_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>

namespace io {
namespace {

constexpr std::size_t largest_file = 4U << 20U;
constexpr std::size_t largest_total = 32U << 20U;
constexpr std::string_view magic = "gatepost-tls-1\n";

// Why it cannot be read, or its content.
std::expected<std::string, std::string> read_file(const std::string& path) {
  const scanner::OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!file) return std::unexpected(std::strerror(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return std::unexpected(std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return std::unexpected(std::strerror(EISDIR));
  if (!S_ISREG(status.st_mode)) return std::unexpected("not a regular file");
  std::string content;
  content.reserve(std::min<std::size_t>(static_cast<std::size_t>(status.st_size), largest_file) + 1);
  char piece[16384];
  for (;;) {
    const ssize_t got = ::read(file.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(std::strerror(errno));
    if (got == 0) break;
    if (content.size() + static_cast<std::size_t>(got) > largest_file)
      return std::unexpected("larger than 4 MiB, so this is no certificate");
    content.append(piece, static_cast<std::size_t>(got));
  }
  ::explicit_bzero(piece, sizeof piece);
  return content;
}

bool is_certificate_name(const std::filesystem::path& name) {
  const std::string extension = name.extension();
  return extension == ".pem" || extension == ".crt" || extension == ".cer";
}

// All certificate files of a directory, one after the other. Dangling links are left out, as OpenSSL does it.
std::expected<std::string, std::string> read_directory(const std::string& path) {
  std::vector<std::string> names;
  std::error_code failure;
  std::filesystem::directory_iterator entry(path, failure);
  while (!failure && entry != std::filesystem::directory_iterator()) {
    if (is_certificate_name(entry->path())) names.push_back(entry->path());
    entry.increment(failure);
  }
  if (failure) return std::unexpected(failure.message());
  std::ranges::sort(names);
  std::string all;
  for (const std::string& name : names)
    if (auto content = read_file(name)) all += *content + "\n";
  if (all.size() > largest_total) return std::unexpected("more than 32 MiB of certificates");
  if (all.empty()) return std::unexpected("a directory without any readable *.pem, *.crt or *.cer");
  return all;
}

class Reader {
 public:
  Reader(TlsFiles& files, std::vector<TlsProblem>& problems) : files_(files), problems_(problems) {}

  void file(const std::string& pointer, const std::string& path) { take(pointer, path, read_file); }
  void authorities(const std::string& pointer, const std::string& path) {
    std::error_code failure;
    take(pointer, path, std::filesystem::is_directory(path, failure) ? read_directory : read_file);
  }

 private:
  template <class Read>
  void take(const std::string& pointer, const std::string& path, Read read) {
    if (path.empty() || files_.find(path) != nullptr) return;
    auto content = read(path);
    if (!content) {
      problems_.emplace_back(pointer, path + " cannot be read: " + content.error());
    } else if (total_ += content->size(); total_ > largest_total) {
      problems_.emplace_back(pointer, path + " cannot be read: all certificates together are larger than 32 MiB");
    } else {
      files_.put(path, std::move(*content));
    }
  }
  TlsFiles& files_;
  std::vector<TlsProblem>& problems_;
  std::size_t total_ = 0;
};

void append_sized(std::string& out, std::string_view text) {
  const std::uint64_t size = text.size();
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += text;
}

std::optional<std::string_view> take_sized(std::string_view& in) {
  std::uint64_t size = 0;
  if (in.size() < sizeof size) return std::nullopt;
  std::memcpy(&size, in.data(), sizeof size);
  in.remove_prefix(sizeof size);
  if (in.size() < size) return std::nullopt;
  const std::string_view text = in.substr(0, size);
  in.remove_prefix(size);
  return text;
}

bool write_all_of(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

TlsFiles::~TlsFiles() {
  for (auto& [path, content] : contents_) ::explicit_bzero(content.data(), content.size());
}

TlsFiles TlsFiles::read(const config::Config& config, std::vector<TlsProblem>& problems) {
  TlsFiles files;
  Reader reader(files, problems);
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::ListenerTls& tls = config.listeners[i].tls;
    if (!config::ends_tls(tls.mode)) continue;
    const std::string pointer = "/listeners/" + std::to_string(i) + "/tls";
    for (std::size_t j = 0; j < tls.certificates.size(); ++j) {
      const std::string pair = pointer + "/certificates/" + std::to_string(j);
      reader.file(pair + "/certificate", tls.certificates[j].certificate);
      reader.file(pair + "/key", tls.certificates[j].key);
    }
    if (tls.local_ca.on()) {
      reader.file(pointer + "/local_ca/certificate", *tls.local_ca.certificate);
      reader.file(pointer + "/local_ca/key", *tls.local_ca.key);
    }
    if (tls.client_ca) reader.authorities(pointer + "/client_ca", *tls.client_ca);
  }
  for (const auto& [name, downstream] : config.downstreams) {
    const config::DownstreamTls& tls = downstream.tls;
    if (tls.mode == config::DownstreamTlsMode::none) continue;
    const std::string pointer = "/downstreams/" + name + "/tls";
    if (tls.certificate) reader.file(pointer + "/certificate", *tls.certificate);
    if (tls.key) reader.file(pointer + "/key", *tls.key);
    if (tls.ca) reader.authorities(pointer + "/ca", *tls.ca);
    else if (tls.mode == config::DownstreamTlsMode::verified && tls.fingerprints.empty())
      reader.file(pointer + "/mode", system_ca);
  }
  return files;
}

const std::string* TlsFiles::find(const std::string& path) const {
  const auto found = contents_.find(path);
  return found == contents_.end() ? nullptr : &found->second;
}

std::expected<scanner::OwnedFd, int> TlsFiles::seal() const {
  scanner::OwnedFd fd(::memfd_create("gatepost-tls", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return std::unexpected(errno);
  std::size_t size = magic.size();
  for (const auto& [path, content] : contents_) size += path.size() + content.size() + 2 * sizeof(std::uint64_t);
  std::string all(magic);
  all.reserve(size);  // growing would leave keys behind
  for (const auto& [path, content] : contents_) {
    append_sized(all, path);
    append_sized(all, content);
  }
  const bool written = write_all_of(fd.get(), all);
  const int error = errno;
  ::explicit_bzero(all.data(), all.size());
  if (!written) return std::unexpected(error);
  constexpr int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return std::unexpected(errno);
  return fd;
}

std::optional<TlsFiles> TlsFiles::unseal(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || status.st_size < static_cast<off_t>(magic.size()) ||
      static_cast<std::size_t>(status.st_size) > 2 * largest_total)
    return std::nullopt;
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return std::nullopt;
  std::string_view rest(static_cast<const char*>(mapped), size);
  TlsFiles files;
  bool good = rest.starts_with(magic);
  rest.remove_prefix(good ? magic.size() : rest.size());
  while (good && !rest.empty()) {
    const auto path = take_sized(rest);
    const auto content = path ? take_sized(rest) : std::nullopt;
    good = content.has_value();
    if (good) files.put(std::string(*path), std::string(*content));
  }
  ::munmap(mapped, size);
  return good ? std::optional(std::move(files)) : std::nullopt;
}

}  // namespace io
