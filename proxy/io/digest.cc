#include "proxy/io/digest.h"

#include <openssl/evp.h>

#include <new>

namespace io {

Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
}

void Sha256::feed(std::string_view bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) throw std::bad_alloc();
}

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  if (EVP_DigestFinal_ex(context_.get(), digest, nullptr) != 1) throw std::bad_alloc();
  return {digest, digest + octets};
}

}  // namespace io
