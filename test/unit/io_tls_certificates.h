// Certificates made on the spot: an authority, and what it issues.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

namespace io_test {

struct Pem {
  std::string certificate, key;
};

struct Wish {
  std::vector<std::string> names;     // DNS names; the first one is the common name, too
  std::string address;                // an IP address among the alternative names
  long from_days = -1, to_days = 30;  // validity, from now
  bool rsa = false;
  int bits = 2048;         // of RSA
  std::string passphrase;  // of the key
};

class Authority {
 public:
  enum class Kind { ec, rsa, ed25519 };  // of its key
  explicit Authority(const std::string& name, Kind kind = Kind::ec, long to_days = 100);
  std::string pem() const;
  Pem own() const;                                         // with its key
  Authority subordinate(const std::string& name) const;  // an authority that this one has signed
  Pem issue(const Wish& wish) const;
  Pem issue(const std::string& name) const {
    Wish wish;
    wish.names = {name};
    return issue(wish);
  }

 private:
  Authority() = default;
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

std::string fingerprint(const std::string& pem, bool of_key = false);  // SHA-256 in hexadecimal with colons, upper case

}  // namespace io_test
