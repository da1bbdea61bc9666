#include "test/unit/io_tls_certificates.h"

#include <doctest/doctest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

namespace io_test {
namespace {

using Bytes = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string content(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return std::string(text, static_cast<std::size_t>(size));
}

std::string to_pem(X509* certificate) {
  const Bytes out(BIO_new(BIO_s_mem()), BIO_free);
  REQUIRE(PEM_write_bio_X509(out.get(), certificate) == 1);
  return content(out.get());
}

std::string to_pem(EVP_PKEY* key, const std::string& passphrase) {
  const Bytes out(BIO_new(BIO_s_mem()), BIO_free);
  const EVP_CIPHER* cipher = passphrase.empty() ? nullptr : EVP_aes_128_cbc();
  REQUIRE(PEM_write_bio_PKCS8PrivateKey(out.get(), key, cipher, passphrase.data(), static_cast<int>(passphrase.size()),
                                        nullptr, nullptr) == 1);
  return content(out.get());
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  REQUIRE(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

std::shared_ptr<X509> blank(EVP_PKEY* key, const std::string& common_name, long from_days, long to_days) {
  static long serial = 1;
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from_days * 86400);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), to_days * 86400);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  return certificate;
}

EVP_PKEY* ec_key() { return EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"); }  // EVP_EC_gen casts

std::string alternative_names(const Wish& wish) {
  std::string all;
  for (const std::string& name : wish.names) all += (all.empty() ? "DNS:" : ",DNS:") + name;
  if (!wish.address.empty()) all += (all.empty() ? "IP:" : ",IP:") + wish.address;
  return all;
}

}  // namespace

Authority::Authority(const std::string& name, Kind kind, long to_days)
    : key_(kind == Kind::rsa       ? EVP_RSA_gen(2048)
           : kind == Kind::ed25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                                   : ec_key(),
           EVP_PKEY_free) {
  certificate_ = blank(key_.get(), name, -10, to_days);
  X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
  extend(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  extend(certificate_.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  REQUIRE(X509_sign(certificate_.get(), key_.get(), kind == Kind::ed25519 ? nullptr : EVP_sha256()) > 0);
}

std::string Authority::pem() const { return to_pem(certificate_.get()); }
Pem Authority::own() const { return {pem(), to_pem(key_.get(), "")}; }

Authority Authority::subordinate(const std::string& name) const {
  Authority made;
  made.key_.reset(ec_key(), EVP_PKEY_free);
  made.certificate_ = blank(made.key_.get(), name, -10, 100);
  X509_set_issuer_name(made.certificate_.get(), X509_get_subject_name(certificate_.get()));
  extend(made.certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  extend(made.certificate_.get(), certificate_.get(), NID_key_usage, "critical,keyCertSign");
  REQUIRE(X509_sign(made.certificate_.get(), key_.get(), EVP_sha256()) > 0);
  return made;
}

Pem Authority::issue(const Wish& wish) const {
  const std::shared_ptr<EVP_PKEY> key(wish.rsa ? EVP_RSA_gen(static_cast<unsigned>(wish.bits)) : ec_key(),
                                      EVP_PKEY_free);
  const auto certificate =
      blank(key.get(), wish.names.empty() ? "nameless" : wish.names.front(), wish.from_days, wish.to_days);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
  const std::string names = alternative_names(wish);
  if (!names.empty()) extend(certificate.get(), certificate_.get(), NID_subject_alt_name, names);
  REQUIRE(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0);
  return {to_pem(certificate.get()), to_pem(key.get(), wish.passphrase)};
}

std::string fingerprint(const std::string& pem, bool of_key) {
  const Bytes in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr),
                                                                X509_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (of_key) {
    unsigned char* der = nullptr;
    const int length = i2d_PUBKEY(X509_get0_pubkey(certificate.get()), &der);
    REQUIRE(EVP_Digest(der, static_cast<std::size_t>(length), digest, &size, EVP_sha256(), nullptr) == 1);
    OPENSSL_free(der);
  } else {
    REQUIRE(X509_digest(certificate.get(), EVP_sha256(), digest, &size) == 1);
  }
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    if (i > 0) text += ':';
    text += "0123456789ABCDEF"[digest[i] >> 4U];
    text += "0123456789ABCDEF"[digest[i] & 15U];
  }
  return text;
}

}  // namespace io_test
