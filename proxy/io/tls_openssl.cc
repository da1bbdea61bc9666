#include "proxy/io/tls_openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cstdint>

namespace io::openssl {
namespace {

using Text = std::unique_ptr<BIO, Free<BIO_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

Bio reader_of(std::string_view pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

std::string name_text(const X509_NAME* name) {
  const Text out(BIO_new(BIO_s_mem()));
  if (!out ||
      X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB)) < 0)
    return {};
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string();
}

std::string hexadecimal(const unsigned char* octets, unsigned count) {
  std::string text;
  for (unsigned i = 0; i < count; ++i) {
    text += "0123456789abcdef"[octets[i] >> 4U];
    text += "0123456789abcdef"[octets[i] & 15U];
  }
  return text;
}

std::string common_name(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* bytes = nullptr;
  const int size = ASN1_STRING_to_UTF8(&bytes, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return text;
}

int refuse_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string take_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown error" : reason;
}

std::optional<std::vector<Certificate>> read_certificates(std::string_view pem) {
  std::vector<Certificate> found;
  const Bio in = reader_of(pem);
  if (!in) return std::nullopt;
  for (;;) {
    Certificate next(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
    if (!next) break;
    found.push_back(std::move(next));
  }
  const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (end) ERR_clear_error();
  return end ? std::optional(std::move(found)) : std::nullopt;
}

KeyText read_key(std::string_view pem) {
  KeyText read;
  const Bio in = reader_of(pem);
  if (in) read.key.reset(PEM_read_bio_PrivateKey(in.get(), nullptr, refuse_passphrase, &read.encrypted));
  if (read.key) ERR_clear_error();
  return read;
}

std::string subject_of(const X509* certificate) { return name_text(X509_get_subject_name(certificate)); }
std::string issuer_of(const X509* certificate) { return name_text(X509_get_issuer_name(certificate)); }

std::string fingerprint_of(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  return X509_digest(certificate, EVP_sha256(), digest, &size) == 1 ? hexadecimal(digest, size) : std::string();
}

std::string key_fingerprint_of(const X509* certificate) {
  unsigned char* der = nullptr;
  const int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (length <= 0) return {};
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const int done = EVP_Digest(der, static_cast<std::size_t>(length), digest, &size, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  return done == 1 ? hexadecimal(digest, size) : std::string();
}

std::vector<std::string> names_of(const X509* certificate) {
  std::vector<std::string> names;
  const Names alternatives(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type != GEN_DNS) continue;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
    names.push_back(lower(std::string(text, static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)))));
  }
  if (!names.empty()) return names;
  std::string common = lower(common_name(certificate));
  if (!common.empty()) names.push_back(std::move(common));
  return names;
}

}  // namespace io::openssl
