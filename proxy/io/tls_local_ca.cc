#include "proxy/io/tls_local_ca.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <algorithm>
#include <new>

namespace io::openssl {
namespace {

using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using AlternativeNames = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;

constexpr std::size_t longest_common_name = 64;  // ub-common-name of RFC 5280, appendix A.1

// What distinguishes it from others. The length comes first: an address may spell a name.
std::string label_of(const MintedFor& whom) {
  std::string label = std::to_string(whom.address.size()) + ' ';
  label.append(whom.address.begin(), whom.address.end());
  for (const std::string& name : whom.names) label += '/' + name;
  return label;
}

// 127 random bits (RFC 5280 4.1.2.2: positive, at most 20 octets).
bool set_serial(X509* certificate) {
  const Number number(BN_new());
  return number && BN_rand(number.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool add(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool append(GENERAL_NAMES* names, int kind, int string_type, const void* octets, std::size_t size) {
  GENERAL_NAME* const name = GENERAL_NAME_new();
  ASN1_STRING* const text = ASN1_STRING_type_new(string_type);
  if (name == nullptr || text == nullptr || ASN1_STRING_set(text, octets, static_cast<int>(size)) != 1 ||
      sk_GENERAL_NAME_push(names, name) == 0) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(text);
    return false;
  }
  GENERAL_NAME_set0_value(name, kind, text);
  return true;
}

// As values, not as text: the names come from a client or a server.
bool add_names(X509* certificate, const MintedFor& whom) {
  const AlternativeNames names(sk_GENERAL_NAME_new_null());
  bool added = names != nullptr;
  for (std::size_t i = 0; added && i < whom.names.size(); ++i)
    added = append(names.get(), GEN_DNS, V_ASN1_IA5STRING, whom.names[i].data(), whom.names[i].size());
  if (added && !whom.address.empty())
    added = append(names.get(), GEN_IPADD, V_ASN1_OCTET_STRING, whom.address.data(), whom.address.size());
  return added && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

// RFC 5280 4.1.2.6: it may be empty, as there are alternative names; logs read better with one.
bool set_subject(X509* certificate, const MintedFor& whom) {
  if (whom.names.empty() || whom.names.front().size() > longest_common_name) return true;
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(whom.names.front().data()),
                                    static_cast<int>(whom.names.front().size()), -1, 0) == 1;
}

// Not before the authority's own time, and not after it.
bool set_dates(X509* certificate, const X509* authority, std::time_t now) {
  std::time_t from = now - LocalCa::clocks_differ_by, to = now + LocalCa::lifetime;
  const ASN1_TIME *begins = X509_get0_notBefore(authority), *ends = X509_get0_notAfter(authority);
  const bool from_set = X509_cmp_time(begins, &from) > 0 ? X509_set1_notBefore(certificate, begins) == 1
                                                         : ASN1_TIME_set(X509_getm_notBefore(certificate), from) != nullptr;
  const bool to_set = X509_cmp_time(ends, &to) < 0 ? X509_set1_notAfter(certificate, ends) == 1
                                                   : ASN1_TIME_set(X509_getm_notAfter(certificate), to) != nullptr;
  return from_set && to_set;
}

// These bring their own digest (RFC 8410).
const EVP_MD* digest_for(const EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1 ? nullptr : EVP_sha256();
}

bool may_sign(X509* certificate) {
  return X509_check_ca(certificate) == 1 && (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) != 0;
}

}  // namespace

bool is_server_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  std::size_t label = 0;
  bool letters = false;  // in the last label, or it is an IPv4 address (RFC 1123 2.1)
  for (const char c : name) {
    const bool in_label = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!in_label && (c != '.' || label == 0)) return false;
    label = in_label ? label + 1 : 0;
    letters = in_label && (letters || c < '0' || c > '9');
    if (label > 63) return false;
  }
  return label > 0 && letters;
}

LocalCa::LocalCa(Pair authority)
    : authority_(std::move(authority)),
      self_signed_(X509_self_signed(authority_.leaf.get(), 0) == 1),
      key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")) {
  if (!key_) throw std::bad_alloc();
}

std::unique_ptr<LocalCa> LocalCa::make(const config::LocalCa& settings, const TlsFiles& files, Problems& problems) {
  auto pair = read_pair(files, *settings.certificate, *settings.key, "/local_ca", problems);
  if (!pair) return nullptr;
  if (!may_sign(pair->leaf.get())) {
    problems.emplace_back("/local_ca/certificate",
                          *settings.certificate +
                              " begins with a certificate that may sign no others: it needs CA:TRUE, and keyCertSign "
                              "where it has a key usage");
    return nullptr;
  }
  std::unique_ptr<LocalCa> made(new LocalCa(std::move(*pair)));
  const MintedFor somebody{{"mail.example"}, {}};
  if (made->sign(somebody, std::time(nullptr))) return made;
  problems.emplace_back("/local_ca/key", *settings.key + " cannot sign: " + take_error());
  return nullptr;
}

Certificate LocalCa::sign(const MintedFor& whom, std::time_t now) const {
  X509* const authority = authority_.leaf.get();
  Certificate made(X509_new());
  X509* const raw = made.get();
  const bool filled = raw != nullptr && X509_set_version(raw, X509_VERSION_3) == 1 && set_serial(raw) &&
                      set_dates(raw, authority, now) && set_subject(raw, whom) &&
                      X509_set_issuer_name(raw, X509_get_subject_name(authority)) == 1 &&
                      X509_set_pubkey(raw, key_.get()) == 1 &&
                      add(raw, authority, NID_basic_constraints, "critical,CA:FALSE") &&
                      add(raw, authority, NID_key_usage, "critical,digitalSignature") &&
                      add(raw, authority, NID_ext_key_usage, "serverAuth") &&
                      add(raw, authority, NID_subject_key_identifier, "hash") &&
                      (X509_get0_subject_key_id(authority) == nullptr ||
                       add(raw, authority, NID_authority_key_identifier, "keyid")) &&
                      add_names(raw, whom);
  if (!filled || X509_sign(raw, authority_.key.get(), digest_for(authority_.key.get())) <= 0) return nullptr;
  return made;
}

Certificate LocalCa::find(const std::string& label, std::time_t now) {
  std::time_t at = now + renewed_before_end;
  const std::lock_guard lock(mutex_);
  const auto found = made_.find(label);
  if (found == made_.end() || X509_cmp_time(X509_get0_notAfter(found->second.get()), &at) < 0) return nullptr;
  X509_up_ref(found->second.get());
  return Certificate(found->second.get());
}

std::size_t LocalCa::remembered() {
  const std::lock_guard lock(mutex_);
  return made_.size();
}

void LocalCa::remember(const std::string& label, const Certificate& made) {
  X509_up_ref(made.get());
  Certificate mine(made.get());
  const std::lock_guard lock(mutex_);
  if (made_.size() >= most_remembered) made_.erase(made_.begin());
  made_.insert_or_assign(label, std::move(mine));
}

Certificate LocalCa::mint(const MintedFor& whom, std::time_t now) {
  const std::string label = label_of(whom);
  Certificate found = find(label, now);
  if (found) return found;
  Certificate made = sign(whom, now);
  if (made) remember(label, made);
  return made;
}

bool LocalCa::show(ssl_st* connection, const MintedFor& whom, std::time_t now) {
  const Certificate made = mint(whom, now);
  if (!made || SSL_use_certificate(connection, made.get()) != 1 || SSL_use_PrivateKey(connection, key_.get()) != 1)
    return false;
  bool shown = SSL_clear_chain_certs(connection) == 1;
  if (!self_signed_) shown = shown && SSL_add1_chain_cert(connection, authority_.leaf.get()) == 1;
  for (const Certificate& each : authority_.chain) shown = shown && SSL_add1_chain_cert(connection, each.get()) == 1;
  return shown;
}

}  // namespace io::openssl
