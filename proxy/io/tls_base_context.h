// What server and client contexts share. For io/tls*.cc alone.
#pragma once

#include "config/config.h"
#include "proxy/io/tls_files.h"
#include "proxy/io/tls_openssl.h"

namespace io::openssl {

using Problems = std::vector<TlsProblem>;

// With the options of tls_context.h. Throws std::bad_alloc.
Context new_context(const SSL_METHOD* method, config::TlsVersion minimum);

// One certificate with its chain and key, read and tried.
struct Pair {
  Certificate leaf;
  std::vector<Certificate> chain;
  Key key;
};
// Nothing where it cannot be used; says why at `pointer` + "/certificate" or "/key", and warns of dates. A file that is
// not in `files` was complained about before.
std::optional<Pair> read_pair(const TlsFiles& files, const std::string& certificate, const std::string& key,
                              const std::string& pointer, Problems& problems);
// Says at `pointer` + "/certificate" why not.
bool use_pair(SSL_CTX* context, const Pair& pair, const std::string& pointer, Problems& problems);

// Trusts the certificates of that file or directory; says at `pointer` why not. Gives how many there were.
std::size_t trust(SSL_CTX* context, const TlsFiles& files, const std::string& path, const std::string& pointer,
                  Problems& problems);

}  // namespace io::openssl
