// Content towards an SMTP downstream that offers CHUNKING (RFC 3030): one BDAT, the last, that holds everything. The
// same promises as with DATA (smtp_delivery.cc): as long as its last octets have not been handed to the kernel the
// server has half a chunk, and by a reset no message.
#include <unistd.h>

#include <algorithm>

#include "protocol/chunking.h"
#include "proxy/session/client_leg.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::Task;

namespace {

// What is kept back of content that lies in a file, in octets: its end goes out when the slot is open.
std::uint64_t end_of(const io::Spool& spool) { return std::min<std::uint64_t>(spool.size(), 16384); }

// Added fields and content are one chunk.
std::string start_of(const Parcel& parcel) {
  const protocol::BdatCommand chunk{parcel.added_field.size() + parcel.spool.size(), true};
  return format(chunk) + "\r\n" + std::string(parcel.added_field);
}

}  // namespace

// Binary content has no other way. A server that withholds CHUNKING by config is not spoken to in it either. With LMTP
// a BDAT that is refused has one reply and one that is taken has many: not where DATA can do it.
bool SmtpDownstream::goes_by_bdat(const Parcel& parcel) const {
  if (parcel.envelope.mail.parameters.body == protocol::Body::binary_mime) return true;
  const bool withheld = std::ranges::find(listener_.withhold, "CHUNKING") != listener_.withhold.end();
  const bool shown_as_data = listener_.hide && parcel.by_data;  // servers answer the two in different words
  return capabilities_.chunking && !is_lmtp() && !withheld && !shown_as_data;
}

Task<SmtpDownstream::Sent> SmtpDownstream::push_chunk_start(Parcel& parcel, io::TimePoint until) {
  if (parcel.spool.in_memory()) co_return Sent::all;
  const std::string start = start_of(parcel);
  Sent sent = co_await push_text(start, parcel.client_leg, until);
  if (sent != Sent::all) co_return sent;
  sent = co_await push_file(parcel, parcel.spool.size() - end_of(parcel.spool), until);
  co_return sent;
}

// In one write: all of it where it is in memory.
Task<SmtpDownstream::Sent> SmtpDownstream::push_chunk_end(Parcel& parcel, io::TimePoint until) {
  std::string start, end;
  std::string_view content;
  if (parcel.spool.in_memory()) {
    start = start_of(parcel);
    content = parcel.spool.memory();
  } else {
    end.resize(static_cast<std::size_t>(end_of(parcel.spool)));
    const auto offset = static_cast<off_t>(parcel.spool.file_offset() + parcel.spool.size() - end.size());
    if (::pread(parcel.spool.file(), end.data(), end.size(), offset) != static_cast<ssize_t>(end.size())) {
      lose("our spool cannot be read");
      co_return Sent::lost;
    }
    content = end;
  }
  iovec parts[2] = {};
  parts[0].iov_base = start.data();
  parts[0].iov_len = start.size();
  parts[1].iov_base = const_cast<char*>(content.data());
  parts[1].iov_len = content.size();
  const Sent sent = co_await push(parts, 2, parcel.client_leg, until);
  co_return sent;
}

}  // namespace session
