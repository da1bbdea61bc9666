// Certificates made on the spot, for clients of intercepted connections that mean a server of somebody else's: signed by
// an authority that the site's own machines trust. For io/tls*.cc alone.
//
// All of one authority have the same key, made with it and gone with it, so that nothing but a signature is to be
// computed for each name. Its own key is in the memory of whoever holds this.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/config.h"
#include "proxy/io/tls_base_context.h"

namespace io::openssl {

// Whom a certificate is for; at least one of both.
struct MintedFor {
  std::vector<std::string> names{};            // DNS names (is_server_name), perhaps with "*." in front
  std::vector<std::uint8_t> address{};         // 4 or 16 octets
};

// A name that a certificate may be made for: labels of letters, digits, '-' and '_', at most 253 octets together; the last
// one is no number.
bool is_server_name(std::string_view name);

class LocalCa {
 public:
  static constexpr std::size_t most_remembered = 1024;            // certificates; then any one is forgotten for the next
  static constexpr std::size_t most_names = 100;                  // of one certificate
  static constexpr std::time_t lifetime = 30 * 86400;             // and no longer than the authority's own
  static constexpr std::time_t renewed_before_end = 7 * 86400;    // of those remembered
  static constexpr std::time_t clocks_differ_by = 86400;          // they are valid from so long ago

  // nullptr where this authority can sign nothing; says why at "/local_ca/certificate" or "/local_ca/key".
  static std::unique_ptr<LocalCa> make(const config::LocalCa& settings, const TlsFiles& files, Problems& problems);

  // nullptr: no memory. From any thread; holds a lock while it looks, and not while it signs.
  Certificate mint(const MintedFor& whom, std::time_t now);
  // Shows such a certificate, with what a client needs to get from it to the authority. False: no memory.
  bool show(ssl_st* connection, const MintedFor& whom, std::time_t now);
  std::size_t remembered();

 private:
  explicit LocalCa(Pair authority);
  Certificate sign(const MintedFor& whom, std::time_t now) const;
  Certificate find(const std::string& label, std::time_t now);
  void remember(const std::string& label, const Certificate& made);

  Pair authority_;
  bool self_signed_;
  Key key_;  // of all that are made
  std::mutex mutex_;
  std::unordered_map<std::string, Certificate> made_;  // by label_of()
};

}  // namespace io::openssl
