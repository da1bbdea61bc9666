#include "proxy/io/tls_base_context.h"

#include <openssl/err.h>

#include <new>

namespace io::openssl {
namespace {

void look_at_dates(const Pair& pair, const std::string& at, const std::string& name, Problems& problems) {
  if (X509_cmp_current_time(X509_get0_notAfter(pair.leaf.get())) < 0)
    problems.emplace_back(at, name + " has expired: clients that verify it will turn away", true);
  if (X509_cmp_current_time(X509_get0_notBefore(pair.leaf.get())) > 0)
    problems.emplace_back(at, name + " is not valid yet: clients that verify it will turn away", true);
}

}  // namespace

Context new_context(const SSL_METHOD* method, config::TlsVersion minimum) {
  Context context(SSL_CTX_new(method));
  if (!context) throw std::bad_alloc();
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, minimum == config::TlsVersion::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(raw, 0);  // the newest, whatever the system's openssl.cnf says
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_clear_options(raw, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(raw, 1);  // one system call for a record instead of two
  // Forward secrecy always; what can do TLS 1.2 can do this.
  SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128:!aNULL:!PSK:!SRP");
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  return context;
}

std::optional<Pair> read_pair(const TlsFiles& files, const std::string& certificate, const std::string& key,
                              const std::string& pointer, Problems& problems) {
  const std::string* certificate_text = files.find(certificate);
  const std::string* key_text = files.find(key);
  if (certificate_text == nullptr || key_text == nullptr) return std::nullopt;
  const std::string at_certificate = pointer + "/certificate", at_key = pointer + "/key";
  const std::size_t before = problems.size();
  Pair pair;
  auto certificates = read_certificates(*certificate_text);
  if (!certificates)
    problems.emplace_back(at_certificate, certificate + " holds a broken certificate: " + take_error());
  else if (certificates->empty()) problems.emplace_back(at_certificate, certificate + " holds no certificate in PEM");
  KeyText read = read_key(*key_text);
  if (read.encrypted) {
    ERR_clear_error();
    problems.emplace_back(
        at_key, key + " is protected by a passphrase, which nobody could type in: remove it with openssl pkey");
  } else if (!read.key) {
    ERR_clear_error();
    problems.emplace_back(at_key, key + " holds no private key in PEM that can be read");
  }
  if (problems.size() != before) return std::nullopt;
  pair.leaf = std::move(certificates->front());
  certificates->erase(certificates->begin());
  pair.chain = std::move(*certificates);
  pair.key = std::move(read.key);
  if (X509_check_private_key(pair.leaf.get(), pair.key.get()) != 1) {
    ERR_clear_error();
    problems.emplace_back(at_key, key + " is not the key of the first certificate of " + certificate);
    return std::nullopt;
  }
  look_at_dates(pair, at_certificate, certificate, problems);
  return pair;
}

bool use_pair(SSL_CTX* context, const Pair& pair, const std::string& pointer, Problems& problems) {
  bool used =
      SSL_CTX_use_certificate(context, pair.leaf.get()) == 1 && SSL_CTX_use_PrivateKey(context, pair.key.get()) == 1;
  for (const Certificate& each : pair.chain) used = used && SSL_CTX_add1_chain_cert(context, each.get()) == 1;
  if (!used) problems.emplace_back(pointer + "/certificate", "cannot be used: " + take_error());
  return used;
}

std::size_t trust(SSL_CTX* context, const TlsFiles& files, const std::string& path, const std::string& pointer,
                  Problems& problems) {
  const std::string* text = files.find(path);
  if (text == nullptr) return 0;
  const auto certificates = read_certificates(*text);
  if (!certificates || certificates->empty()) {
    const std::string why =
        certificates ? "holds no certificate in PEM" : "holds a broken certificate: " + take_error();
    problems.emplace_back(pointer, path + " " + why);
    return 0;
  }
  for (const Certificate& each : *certificates) X509_STORE_add_cert(SSL_CTX_get_cert_store(context), each.get());
  ERR_clear_error();
  return certificates->size();
}

}  // namespace io::openssl
