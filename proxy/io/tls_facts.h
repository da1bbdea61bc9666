// What a TLS handshake says about a connection, or why there is none: plain values for log and policy, without OpenSSL.
// Every text of the peer's certificate, and the server name a client asks for, is chosen by the peer: escape it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace io {

struct TlsCertificate {
  std::string subject, issuer;  // RFC 2253, UTF-8: "CN=mx.example.org,O=Example"
  std::string fingerprint;      // SHA-256 of the certificate, 64 lower-case hexadecimal digits
  std::string
      key_fingerprint;    // SHA-256 of its public key (SubjectPublicKeyInfo); survives a renewal with the same key
  std::vector<std::string> names;  // DNS names, or without any the common name; in lower case
  bool verified = false;  // as the context demands it: chain and, towards servers, name; or fingerprint
  std::string why_not;    // of `verified`: "certificate has expired"
};

struct TlsFacts {
  std::string version;      // "TLSv1.3"
  std::string cipher;       // "TLS_AES_256_GCM_SHA384"
  int bits = 0;             // of the symmetric key
  std::string server_name;  // SNI, as the client sent it; empty = none
  std::string alpn;         // empty: none; gatepost itself offers none, but a peer in front may
  bool resumed = false;     // then the certificate is that of the first handshake
  std::optional<TlsCertificate> peer;
};

struct TlsFailure {
  enum class Kind {
    timeout,     // not finished before the deadline
    gone,        // closed or reset by the peer
    alert,       // the peer refused: `text` names its alert
    unverified,  // we refused the peer's certificate
    protocol,    // anything else: no TLS at all, no common version or cipher, no memory
  };
  TlsFailure(Kind what, std::string why) : kind(what), text(std::move(why)) {}
  Kind kind;
  std::string text;  // one clear sentence without a full stop
};

}  // namespace io
