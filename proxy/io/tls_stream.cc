#include "proxy/io/tls_stream.h"

#include <openssl/err.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "proxy/io/tls_openssl.h"

namespace io {
namespace {

constexpr std::size_t record = SSL3_RT_MAX_PLAIN_LENGTH;  // octets of content in one TLS record (RFC 8446 5.1)
// A peer may fill our time with records that carry nothing: more than this in one call without an octet for the caller,
// or in the whole handshake, is none that means well. A full record and the one begun behind it are 32 KiB.
constexpr std::size_t most_without_content = 64U << 10U;
constexpr std::size_t most_of_handshake = 256U << 10U;

std::array<char, record>& joining_space() {
  static thread_local std::array<char, record> space;
  return space;
}

// As many of the octets as fit into one record, in one piece; a large first part as it is.
std::string_view join(const iovec* parts, int count) {
  while (count > 0 && parts->iov_len == 0) ++parts, --count;
  if (count == 0) return {};
  const std::string_view first(static_cast<const char*>(parts->iov_base), parts->iov_len);
  if (count == 1 || first.size() >= record) return first;
  std::array<char, record>& space = joining_space();
  std::size_t size = 0;
  for (int i = 0; i < count && size < record; ++i) {
    const std::size_t piece = std::min(parts[i].iov_len, record - size);
    std::copy_n(static_cast<const char*>(parts[i].iov_base), piece, space.data() + size);
    size += piece;
  }
  return {space.data(), size};
}

std::string alert_text(int reason) {
  return std::string("peer sent alert: ") + SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET);
}

// The usual ones in the words of an administrator.
std::string protocol_text(int reason, std::string_view openssl_text) {
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
      return "peer does not speak TLS here (" + std::string(openssl_text) + ")";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
      return "peer offers no version of TLS that is allowed here";
    case SSL_R_NO_SHARED_CIPHER:
      return "peer offers no cipher that is allowed here";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "peer sent no certificate";
    default:
      return std::string(openssl_text);
  }
}

}  // namespace

struct TlsStream::Notes : openssl::ConnectionNotes {};

class TlsStream::LowerBio {
 public:
  static BIO* make(TlsStream& stream) {
    static const Method method;
    BIO* const bio = method.get() == nullptr ? nullptr : BIO_new(method.get());
    if (bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio, &stream);
    BIO_set_init(bio, 1);
    return bio;
  }

 private:
  class Method {
   public:
    Method() : method_(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "io::Stream")) {
      if (!method_) return;
      BIO_meth_set_read(method_.get(), read);
      BIO_meth_set_write(method_.get(), write);
      BIO_meth_set_ctrl(method_.get(), control);
    }
    const BIO_METHOD* get() const { return method_.get(); }

   private:
    std::unique_ptr<BIO_METHOD, openssl::Free<BIO_meth_free>> method_;
  };

  static int read(BIO* bio, char* into, int room) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (stream.taken_ > (stream.established_ ? most_without_content : most_of_handshake)) {
      stream.why_ =
          stream.established_ ? "peer sends records without content" : "peer sends more than a handshake needs";
      stream.lower_status_ = IoStatus::reset;
      return 0;
    }
    if (stream.taken_ > 0) stream.lower_->look_again();  // half a record or half a flight
    const IoResult got = stream.lower_->read(into, static_cast<std::size_t>(room));
    if (got.status == IoStatus::ok) {
      stream.taken_ += got.count;
      return static_cast<int>(got.count);
    }
    if (got.status == IoStatus::would_block) BIO_set_retry_read(bio);
    else stream.lower_status_ = got.status;
    return got.status == IoStatus::would_block ? -1 : 0;
  }

  static int write(BIO* bio, const char* from, int count) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const iovec part{const_cast<char*>(from), static_cast<std::size_t>(count)};
    const IoResult sent = stream.lower_->write(&part, 1);
    if (sent.status == IoStatus::ok) return static_cast<int>(sent.count);
    if (sent.status == IoStatus::would_block) BIO_set_retry_write(bio);
    else stream.lower_status_ = sent.status;
    return -1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
};

TlsStream::TlsStream(std::unique_ptr<Stream>&& lower, ssl_st* connection, std::shared_ptr<const void> context)
    : lower_(std::move(lower)), context_(std::move(context)), connection_(connection) {
  if (connection_ == nullptr) throw std::bad_alloc();
  try {
    BIO* const bio = LowerBio::make(*this);
    SSL_set_bio(connection_, bio, bio);
  } catch (...) {
    SSL_free(connection_);
    throw;
  }
  lower_->readable.also_raise(&readable);
  lower_->writable.also_raise(&writable);
}

TlsStream::TlsStream(std::unique_ptr<Stream> lower, std::shared_ptr<const TlsServerContext> context, TlsMeant meant)
    : TlsStream(std::move(lower), context->new_connection(meant), context) {
  SSL_set_accept_state(connection_);
  if (!context->makes_certificates()) return;
  notes_ = std::make_unique<Notes>();
  notes_->meant = std::move(meant);
  SSL_set_app_data(connection_, notes_.get());
}

TlsStream::TlsStream(std::unique_ptr<Stream> lower, std::shared_ptr<const TlsClientContext> context,
                     std::string_view host)
    : TlsStream(std::move(lower),
                context->new_connection(context->name_for(host), std::string(host) + ' ' + lower->peer()), context) {
  notes_ = std::make_unique<Notes>();
  notes_->session_key = std::string(host) + ' ' + lower_->peer();
  SSL_set_app_data(connection_, notes_.get());
  SSL_set_connect_state(connection_);
}

TlsStream::~TlsStream() {
  say_goodbye();
  SSL_free(connection_);
}

// From now on either event of the lower stream wakes whoever waits here: one is enough to have been needed once.
void TlsStream::cross_signals() {
  readable.also_raise(&writable);
  lower_->writable.also_raise(&readable);
}

// Without waiting: a peer that does not read has lost interest in the end, too.
void TlsStream::say_goodbye() {
  if (!established_ || failed_ || aborted_ || pending_ != 0 || write_ended_) return;
  ERR_clear_error();
  SSL_shutdown(connection_);
  ERR_clear_error();
  write_ended_ = true;
}

void TlsStream::fail(TlsFailure::Kind kind, std::string why) {
  failed_ = true;
  failure_ = kind;
  if (why_.empty()) why_ = std::move(why);
}

// What OpenSSL says to the result of a call, with the failure noted.
TlsStream::Step TlsStream::after(int result) {
  switch (SSL_get_error(connection_, result)) {
    case SSL_ERROR_NONE:
      return Step::done;
    case SSL_ERROR_WANT_READ:
      return Step::want_read;
    case SSL_ERROR_WANT_WRITE:
      return Step::want_write;
    case SSL_ERROR_SYSCALL:
      if (lower_status_ == IoStatus::closed)
        fail(TlsFailure::Kind::gone,
             established_ ? "peer closed without close_notify" : "peer closed during the handshake");
      else fail(TlsFailure::Kind::gone, "peer reset the connection");
      return Step::failed;
    case SSL_ERROR_ZERO_RETURN:
      fail(TlsFailure::Kind::gone, "peer closed during the handshake");
      return Step::failed;
    default:
      break;
  }
  const int reason = ERR_GET_REASON(ERR_peek_error());
  const std::string text = openssl::take_error();
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    const std::string& rejected = notes_ ? notes_->rejected : std::string();
    const char* verdict = X509_verify_cert_error_string(SSL_get_verify_result(connection_));
    fail(TlsFailure::Kind::unverified, "peer's certificate is refused: " + (rejected.empty() ? verdict : rejected));
  } else if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
    fail(TlsFailure::Kind::alert, alert_text(reason));
  } else {
    fail(TlsFailure::Kind::protocol, protocol_text(reason, text));
  }
  return Step::failed;
}

TlsStream::Step TlsStream::try_handshake() {
  ERR_clear_error();
  const Step step = after(SSL_do_handshake(connection_));
  established_ = step == Step::done;
  return step;
}

Task<TlsStream::Handshake> TlsStream::handshake(Scope& scope, TimePoint until) {
  Step step = try_handshake();
  while (step == Step::want_read || step == Step::want_write) {
    Signal& wanted = step == Step::want_read ? readable : writable;
    const Woken woken = co_await Wait(scope, until, wanted);
    if (woken == Woken::deadline) {
      fail(TlsFailure::Kind::timeout, "peer did not finish the handshake in time");
      break;
    }
    step = try_handshake();
  }
  if (step != Step::done) co_return std::unexpected(TlsFailure(failure_, why_));
  co_return facts();
}

TlsFacts TlsStream::facts() const {
  TlsFacts facts;
  facts.version = SSL_get_version(connection_);
  facts.cipher = SSL_get_cipher_name(connection_);
  facts.bits = SSL_get_cipher_bits(connection_, nullptr);
  facts.resumed = SSL_session_reused(connection_) == 1;
  if (const char* name = SSL_get_servername(connection_, TLSEXT_NAMETYPE_host_name)) facts.server_name = name;
  const X509* certificate = SSL_get0_peer_certificate(connection_);
  if (certificate == nullptr) return facts;
  TlsCertificate& peer = facts.peer.emplace();
  peer.subject = openssl::subject_of(certificate);
  peer.issuer = openssl::issuer_of(certificate);
  peer.fingerprint = openssl::fingerprint_of(certificate);
  peer.key_fingerprint = openssl::key_fingerprint_of(certificate);
  peer.names = openssl::names_of(certificate);
  const long verdict = SSL_get_verify_result(connection_);
  peer.verified = verdict == X509_V_OK;
  if (!peer.verified) peer.why_not = X509_verify_cert_error_string(verdict);
  return facts;
}

IoResult TlsStream::read(char* into, std::size_t room) {
  if (failed_) return {IoStatus::reset, 0};
  if (read_ended_) return {IoStatus::closed, 0};
  ERR_clear_error();
  taken_ = 0;
  std::size_t got = 0;
  const int result = SSL_read_ex(connection_, into, room, &got);
  if (result == 1) return {IoStatus::ok, got};
  if (SSL_get_error(connection_, result) == SSL_ERROR_ZERO_RETURN) {
    read_ended_ = true;
    return {IoStatus::closed, 0};
  }
  const Step step = after(result);
  if (step == Step::want_write) cross_signals();  // the answer to a KeyUpdate has to go out first
  return {step == Step::failed ? IoStatus::reset : IoStatus::would_block, 0};
}

IoResult TlsStream::write(const iovec* parts, int count) {
  if (failed_) return {lower_status_ == IoStatus::closed ? IoStatus::closed : IoStatus::reset, 0};
  if (write_ended_) return {IoStatus::closed, 0};
  const std::string_view bytes = join(parts, count);
  if (bytes.empty()) return {IoStatus::ok, 0};
  ERR_clear_error();
  taken_ = 0;
  std::size_t sent = 0;
  const int result = SSL_write_ex(connection_, bytes.data(), bytes.size(), &sent);
  if (result == 1) {
    pending_ = 0;
    return {IoStatus::ok, sent};
  }
  const Step step = after(result);
  if (step == Step::failed) return {lower_status_ == IoStatus::closed ? IoStatus::closed : IoStatus::reset, 0};
  pending_ = std::min(bytes.size(), record);
  if (step == Step::want_read) cross_signals();  // half a KeyUpdate of the peer stands before our next record
  return {IoStatus::would_block, 0};
}

IoResult TlsStream::send_file(int fd, off_t offset, std::size_t count) {
  std::array<char, record>& space = joining_space();
  ssize_t got = 0;
  do got = ::pread(fd, space.data(), std::min(count, space.size()), offset);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return {IoStatus::reset, 0};  // shorter than promised, or unreadable
  const iovec part{space.data(), static_cast<std::size_t>(got)};
  return write(&part, 1);
}

void TlsStream::abort_on_close() {
  aborted_ = true;
  lower_->abort_on_close();
}

void TlsStream::shutdown_write() {
  say_goodbye();
  write_ended_ = true;
  lower_->shutdown_write();
}

}  // namespace io
