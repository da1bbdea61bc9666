#include "proxy/keeper/copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "protocol/date.h"
#include "proxy/io/write_file.h"

namespace keeper {
namespace {

constexpr std::size_t piece = 64u << 10;

bool has_controls(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// Takes the CR out of each CRLF; a CR at the end of a piece waits for the next one.
class LineEnds {
 public:
  // Replaces `out` by the converted octets.
  void convert(std::string_view in, std::string& out) {
    out.clear();
    for (std::size_t at = 0; at < in.size();) {
      if (cr_waits_ && in[at] != '\n') out += '\r';
      cr_waits_ = false;
      const std::size_t cr = std::min(in.find('\r', at), in.size());
      out += in.substr(at, cr - at);
      if (cr < in.size()) cr_waits_ = true;
      at = cr + 1;
    }
  }
  std::string_view rest() const { return cr_waits_ ? "\r" : ""; }

 private:
  bool cr_waits_ = false;
};

ssize_t read_at(int fd, char* space, std::size_t count, std::uint64_t offset) {
  for (;;) {
    const ssize_t n = ::pread(fd, space, count, static_cast<off_t>(offset));
    if (n >= 0 || errno != EINTR) return n;
  }
}

// The number of octets written.
std::expected<std::uint64_t, Failure> copy_content(int file, const Content& content, const std::string& path) {
  static std::array<char, piece> space;
  LineEnds line_ends;
  std::string out;
  std::uint64_t written = 0;
  for (std::uint64_t done = 0; done < content.size;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece, content.size - done));
    const ssize_t n = read_at(content.fd, space.data(), wanted, content.prefix + done);
    if (n < 0) return std::unexpected(failure(errno, "reading the content for", path));
    if (n == 0) return std::unexpected(Failure{Answer::Status::failed, "the content is shorter than promised"});
    done += static_cast<std::uint64_t>(n);
    line_ends.convert({space.data(), static_cast<std::size_t>(n)}, out);
    if (!io::write_file(file, out)) return std::unexpected(failure(errno, "write", path));
    written += out.size();
  }
  if (!io::write_file(file, line_ends.rest())) return std::unexpected(failure(errno, "write", path));
  return written + line_ends.rest().size();
}

std::string with_lf(std::string_view text) {
  std::string out;
  LineEnds().convert(text, out);
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out;
}

}  // namespace

std::expected<std::string, Failure> top_fields(const Request& request, const Recipient& recipient, std::time_t now) {
  if (has_controls(request.return_path) || has_controls(recipient.forward_path))
    return std::unexpected(Failure{Answer::Status::failed, "a path of the envelope holds a control character"});
  std::string fields =
      fmt::format("Return-Path: <{}>\nDelivered-To: {}\n", request.return_path, recipient.forward_path);
  fields += with_lf(request.extra_fields);
  std::string received = with_lf(request.received);
  while (!received.empty() && (received.back() == '\n' || received.back() == ';' || received.back() == ' '))
    received.pop_back();
  if (!received.empty())
    fields += fmt::format("{}\n\tfor <{}>; {}\n", received, recipient.forward_path, protocol::format_date(now));
  return fields;
}

Copy::Copy(const std::string& mailbox, std::string name) : mailbox_(mailbox), name_(std::move(name)) {}

Copy::Copy(Copy&& other) noexcept
    : mailbox_(std::move(other.mailbox_)),
      name_(std::move(other.name_)),
      path_(std::exchange(other.path_, {})),
      file_(std::move(other.file_)),
      octets_(other.octets_) {}

Copy::~Copy() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

std::expected<Copy, Failure> Copy::write(const std::string& mailbox, UniqueNames& names, std::string_view fields,
                                         const Content& content) {
  Copy copy(mailbox, names.next());
  const std::string path = mailbox + "/tmp/" + copy.name_;
  copy.file_.reset(uninterrupted(
      [&path] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600); }));
  if (!copy.file_) return std::unexpected(failure(errno, "open", path));
  copy.path_ = path;
  // Content that begins with a blank would continue the last of our fields.
  char first = '\0';
  const bool looked = content.size == 0 || ::pread(content.fd, &first, 1, static_cast<off_t>(content.prefix)) == 1;
  if (!looked) return std::unexpected(failure(EIO, "read", "the content"));
  const std::string top = std::string(fields) + (first == ' ' || first == '\t' ? "\n" : "");
  if (!io::write_file(copy.file_.get(), top)) return std::unexpected(failure(errno, "write", path));
  const auto written = copy_content(copy.file_.get(), content, path);
  if (!written) return std::unexpected(written.error());
  copy.octets_ = top.size() + *written;
  return copy;
}

std::expected<void, Failure> Copy::sync() {
  if (uninterrupted([this] { return ::fsync(file_.get()); }) != 0)
    return std::unexpected(failure(errno, "fsync", path_));
  // NFS and quotas may say only now that there is no room.
  if (::close(file_.release()) != 0 && errno != EINTR) return std::unexpected(failure(errno, "close", path_));
  return {};
}

std::expected<void, Failure> Copy::publish() {
  const std::string target = fmt::format("{}/new/{},S={}", mailbox_, name_, octets_);
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
    // Not every file system knows RENAME_NOREPLACE; link(2) never replaces either.
    if ((errno != EINVAL && errno != ENOSYS) || ::link(path_.c_str(), target.c_str()) != 0)
      return std::unexpected(failure(errno, "rename to", target));
    ::unlink(path_.c_str());
  }
  path_ = target;
  return {};
}

}  // namespace keeper
