#include <openssl/err.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "proxy/io/tls_base_context.h"
#include "proxy/io/tls_context.h"

namespace io {

using openssl::ConnectionNotes;
using openssl::Session;

struct TlsClientContext::Parts {
  openssl::Context context;
  std::optional<std::string> name;
  std::vector<std::string> fingerprints;  // lower case, without colons
  bool verify = false;
  std::mutex mutex;  // held for one look into `sessions`
  std::map<std::string, Session> sessions;
};

namespace {

using Parts = TlsClientContext::Parts;
constexpr std::size_t most_sessions = 256;  // servers, each with its last session

std::string bare(const std::string& fingerprint) {
  std::string digits;
  for (const char c : fingerprint)
    if (c != ':') digits += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  return digits;
}

bool is_pinned(const Parts& parts, X509* certificate) {
  const auto has = [&parts](const std::string& digest) {
    return !digest.empty() && std::ranges::find(parts.fingerprints, digest) != parts.fingerprints.end();
  };
  return has(openssl::fingerprint_of(certificate)) || has(openssl::key_fingerprint_of(certificate));
}

// In place of X509_verify_cert: by fingerprint, by CA and name, or not at all.
int verify_server(X509_STORE_CTX* store, void* me) {
  const auto& parts = *static_cast<const Parts*>(me);
  X509* const certificate = X509_STORE_CTX_get0_cert(store);
  auto* const connection = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  try {
    if (!parts.verify) {
      X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
      return 1;
    }
    if (parts.fingerprints.empty()) {
      const int good = X509_verify_cert(store);
      if (good == 1) return 1;
      static_cast<ConnectionNotes*>(SSL_get_app_data(connection))->rejected =
          std::string(X509_verify_cert_error_string(X509_STORE_CTX_get_error(store))) + " (it is for " +
          openssl::subject_of(certificate) + ", issued by " + openssl::issuer_of(certificate) + ")";
      return 0;
    }
    if (is_pinned(parts, certificate)) {
      X509_STORE_CTX_set_error(store, X509_V_OK);
      return 1;
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    static_cast<ConnectionNotes*>(SSL_get_app_data(connection))->rejected =
        "its fingerprint " + openssl::fingerprint_of(certificate) + " is none of those configured";
  } catch (const std::exception&) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
  }
  return 0;
}

// A new session to resume later; TLS 1.3 brings it after the handshake. 1 = we keep it.
int remember(SSL* connection, SSL_SESSION* session) {
  const auto* notes = static_cast<const ConnectionNotes*>(SSL_get_app_data(connection));
  if (notes == nullptr) return 0;
  auto& parts = *static_cast<Parts*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection)));
  try {
    const std::lock_guard lock(parts.mutex);
    if (parts.sessions.size() >= most_sessions && !parts.sessions.contains(notes->session_key)) parts.sessions.clear();
    Session& place = parts.sessions[notes->session_key];
    place.reset(session);
    return 1;
  } catch (const std::exception&) {
    return 0;
  }
}

bool is_address(const std::string& name) {
  ASN1_OCTET_STRING* const address = a2i_IPADDRESS(name.c_str());
  ERR_clear_error();
  ASN1_OCTET_STRING_free(address);
  return address != nullptr;
}

void use_own_certificate(const config::DownstreamTls& settings, const TlsFiles& files, SSL_CTX* context,
                         std::vector<TlsProblem>& problems) {
  if (!settings.certificate || !settings.key) return;
  if (const auto pair = openssl::read_pair(files, *settings.certificate, *settings.key, "", problems))
    openssl::use_pair(context, *pair, "", problems);
}

}  // namespace

std::shared_ptr<const TlsClientContext> TlsClientContext::make(const config::DownstreamTls& settings,
                                                               const TlsFiles& files,
                                                               std::vector<TlsProblem>& problems) {
  auto parts = std::make_unique<Parts>();
  parts->context = openssl::new_context(TLS_client_method(), settings.minimum);
  SSL_CTX* const context = parts->context.get();
  parts->name = settings.name;
  parts->verify = settings.mode == config::DownstreamTlsMode::verified;
  for (const std::string& each : settings.fingerprints) parts->fingerprints.push_back(bare(each));
  std::vector<TlsProblem> found;
  bool trusts = true;
  if (parts->verify && parts->fingerprints.empty())
    trusts = openssl::trust(context, files, settings.ca.value_or(TlsFiles::system_ca), settings.ca ? "/ca" : "/mode",
                            found) > 0;
  use_own_certificate(settings, files, context, found);
  SSL_CTX_set_verify(context, parts->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_cert_verify_callback(context, verify_server, parts.get());
  SSL_CTX_set_app_data(context, parts.get());
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, remember);
  const bool good = trusts && std::ranges::all_of(found, &TlsProblem::warning) &&
                    (!settings.certificate || SSL_CTX_get0_certificate(context) != nullptr);
  problems.insert(problems.end(), found.begin(), found.end());
  return good ? std::make_shared<const TlsClientContext>(std::move(parts)) : nullptr;
}

TlsClientContext::TlsClientContext(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsClientContext::~TlsClientContext() = default;

std::string TlsClientContext::name_for(std::string_view host) const { return parts_->name.value_or(std::string(host)); }

ssl_st* TlsClientContext::new_connection(const std::string& name, const std::string& session_key) const {
  SSL* const connection = SSL_new(parts_->context.get());
  if (connection == nullptr) return nullptr;
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(connection);
  bool set = true;
  if (is_address(name)) {
    set = X509_VERIFY_PARAM_set1_ip_asc(wanted, name.c_str()) == 1;
  } else if (name.empty()) {
    set = !parts_->verify || !parts_->fingerprints.empty();  // any name would do otherwise
  } else {
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    // SSL_set_tlsext_host_name, which is a macro with an old cast
    set = SSL_ctrl(connection, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                   const_cast<char*>(name.c_str())) == 1 &&
          X509_VERIFY_PARAM_set1_host(wanted, name.data(), name.size()) == 1;
  }
  {
    const std::lock_guard lock(parts_->mutex);
    const auto last = parts_->sessions.find(session_key);
    if (last != parts_->sessions.end()) {
      SSL_set_session(connection, last->second.get());
      // A ticket of TLS 1.3 is for one use (RFC 8446 C.4), and the server gives a new one; those of TLS 1.2 stay good.
      if (SSL_SESSION_get_protocol_version(last->second.get()) >= TLS1_3_VERSION) parts_->sessions.erase(last);
    }
  }
  if (set) return connection;
  SSL_free(connection);
  return nullptr;
}

}  // namespace io
