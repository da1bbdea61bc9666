// Owners of OpenSSL's objects, PEM and the sentences of its errors. For io/tls*.cc alone: no other header includes
// openssl/*.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/io/tls_facts.h"
#include "proxy/io/tls_meant.h"

namespace io::openssl {

template <auto free>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL_SESSION, Free<SSL_SESSION_free>>;

// The first error of this thread's queue in words ("key values mismatch"); empties the queue.
std::string take_error();

// All certificates of a PEM text, in order; nothing where one of them is broken. Other kinds of PEM are left out.
std::optional<std::vector<Certificate>> read_certificates(std::string_view pem);

struct KeyText {
  Key key;  // nullptr: not readable
  bool encrypted = false;
};
KeyText read_key(std::string_view pem);

std::string subject_of(const X509* certificate);
std::string issuer_of(const X509* certificate);
std::string fingerprint_of(const X509* certificate);      // SHA-256, lower-case hexadecimal
std::string key_fingerprint_of(const X509* certificate);  // of the SubjectPublicKeyInfo
// The DNS names of a certificate (or, without any, its common name), in lower case; some begin with "*.".
std::vector<std::string> names_of(const X509* certificate);
std::string lower(std::string text);  // ASCII

// What belongs to one connection and must be found from OpenSSL's callbacks (SSL_get_app_data).
struct ConnectionNotes {
  const void* client_context = nullptr;  // a TlsClientContext
  std::string session_key;               // of the session to remember
  std::string rejected;                  // why the peer's certificate was not taken, for the sentence
  TlsMeant meant{};                      // of a client of ours
};

}  // namespace io::openssl
