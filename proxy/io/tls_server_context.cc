#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "proxy/io/tls_base_context.h"
#include "proxy/io/tls_context.h"
#include "proxy/io/tls_local_ca.h"
#include "proxy/io/tls_tickets.h"

namespace io {

using openssl::Context;
using openssl::Pair;

// They differ in their certificates alone. The one by destination begins a connection, else the first, which has none of
// its own where there is a local CA.
struct TlsServerContext::Parts {
  std::vector<Context> contexts;
  std::vector<std::vector<std::string>> names;           // of each context
  std::unordered_map<std::string, std::size_t> by_name;  // "mx.example.org", "*.example.org" -> context
  std::vector<std::pair<std::vector<config::Netmask>, std::size_t>> by_destination;
  std::unique_ptr<openssl::LocalCa> local_ca;
  std::shared_ptr<TicketKeys> tickets;

  SSL_CTX* find(std::string name) const;
  SSL_CTX* begin_with(const TlsMeant& meant) const;
};

namespace {

using Parts = TlsServerContext::Parts;
constexpr std::size_t most_announced_authorities = 64;  // their names go into every handshake

// In lower case, and without the dot at its end.
std::string plain_name(std::string name) {
  name = openssl::lower(std::move(name));
  if (name.ends_with('.')) name.pop_back();
  return name;
}

int choose_certificate(SSL* connection, int*, void* me) {
  const char* name = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_CTX* const found = static_cast<const Parts*>(me)->find(name);
  if (found == nullptr) return SSL_TLSEXT_ERR_NOACK;
  if (found != SSL_get_SSL_CTX(connection)) SSL_set_SSL_CTX(connection, found);
  return SSL_TLSEXT_ERR_OK;
}

// For the name that the client asks for, else for the server that it means.
openssl::MintedFor minted_for(const SSL* connection, const TlsMeant& meant) {
  openssl::MintedFor whom;
  const char* sent = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
  std::string asked = plain_name(sent == nullptr ? "" : sent);
  if (openssl::is_server_name(asked)) {
    whom.names.push_back(std::move(asked));
    return whom;
  }
  for (const std::string& name : meant.names)
    if (whom.names.size() < openssl::LocalCa::most_names && openssl::is_server_name(name.starts_with("*.") ? name.substr(2) : name)) whom.names.push_back(name);
  if (!meant.destination) return whom;
  const config::Netmask address =
      config::network_around(config::octets_of(reinterpret_cast<const sockaddr*>(&*meant.destination)), 128);
  whom.address.assign(address.network.begin() + (is_ipv4(address) ? 12 : 0), address.network.end());
  return whom;
}

// OpenSSL's contract: 1 = go on, 0 = the handshake fails.
int make_certificate(SSL* connection, void* me) {
  const auto* notes = static_cast<const openssl::ConnectionNotes*>(SSL_get_app_data(connection));
  try {
    const openssl::MintedFor whom = minted_for(connection, notes->meant);
    const bool somebody = !whom.names.empty() || !whom.address.empty();
    return somebody && static_cast<openssl::LocalCa*>(me)->show(connection, whom, std::time(nullptr)) ? 1 : 0;
  } catch (const std::exception&) {
    return 0;  // nothing passes through C
  }
}

bool set_mac(EVP_MAC_CTX* mac, const TicketKeys::Key& key) {
  auto octets = key.mac;
  char digest[] = "sha256";
  const std::array<OSSL_PARAM, 3> settings{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, octets.data(), octets.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  const bool set = EVP_MAC_CTX_set_params(mac, settings.data()) == 1;
  OPENSSL_cleanse(octets.data(), octets.size());
  return set;
}

// OpenSSL's contract: 1 = good, 2 = good and give a new ticket, 0 = not ours (a full handshake), -1 = no memory.
int lock_ticket(TicketKeys& keys, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) {
  const TicketKeys::Key key = keys.current(Clock::now());
  if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  std::memcpy(name, key.name.data(), key.name.size());
  return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv) == 1 && set_mac(mac, key) ? 1
                                                                                                                 : -1;
}

int unlock_ticket(TicketKeys& keys, const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher,
                  EVP_MAC_CTX* mac, bool renew) {
  const auto found = keys.find(name, Clock::now());
  if (!found) return 0;
  const bool set = set_mac(mac, found->key) &&
                   EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, found->key.cipher.data(), iv) == 1;
  return !set ? -1 : found->former || renew ? 2 : 1;
}

int on_ticket(SSL* connection, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
              int encrypt) {
  auto& keys = *static_cast<TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection)));
  try {
    if (encrypt != 0) return lock_ticket(keys, name, iv, cipher, mac);
    // Those of TLS 1.3 are for one use: the client needs the next one.
    return unlock_ticket(keys, name, iv, cipher, mac, SSL_version(connection) >= TLS1_3_VERSION);
  } catch (const std::exception&) {
    return -1;  // nothing passes through C
  }
}

int accept_any(int, X509_STORE_CTX*) { return 1; }  // what is wrong stays in SSL_get_verify_result

// SSL_CTX_set1_groups_list, which is a macro with an old cast.
bool set_groups(SSL_CTX* context, std::string groups) {
  return SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, groups.data()) == 1;
}

class Maker {
 public:
  Maker(const config::ListenerTls& settings, std::string_view listener, const TlsFiles& files, Parts& parts,
        std::vector<TlsProblem>& problems)
      : settings_(settings),
        files_(files),
        parts_(parts),
        problems_(problems),
        resumable_as_(resumption_scope(listener)) {}

  void run() {
    if (settings_.local_ca.on()) add_local_ca();
    for (std::size_t i = 0; i < settings_.certificates.size(); ++i) {
      const std::string pointer = "/certificates/" + std::to_string(i);
      const auto& [certificate, key, destinations] = settings_.certificates[i];
      const auto pair = openssl::read_pair(files_, certificate, key, pointer, problems_);
      const auto added = pair ? add(*pair, pointer) : std::nullopt;
      if (added && !destinations.empty()) parts_.by_destination.emplace_back(destinations, *added);
    }
    for (const Context& context : parts_.contexts) {
      // SSL_CTX_set_tlsext_servername_callback and _arg, which are macros with old casts
      SSL_CTX_callback_ctrl(context.get(), SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                            reinterpret_cast<void (*)()>(choose_certificate));
      SSL_CTX_ctrl(context.get(), SSL_CTRL_SET_TLSEXT_SERVERNAME_ARG, 0, &parts_);
    }
  }

 private:
  void add_local_ca() {
    parts_.local_ca = openssl::LocalCa::make(settings_.local_ca, files_, problems_);
    if (!parts_.local_ca) return;
    Context context = openssl::new_context(TLS_server_method(), settings_.minimum);
    set_up(context.get());
    SSL_CTX_set_cert_cb(context.get(), make_certificate, parts_.local_ca.get());
    parts_.names.emplace_back();
    parts_.contexts.push_back(std::move(context));
  }

  // A ticket is for this listener and these demands on clients alone, whoever holds the keys (T:G2).
  std::array<unsigned char, 32> resumption_scope(std::string_view listener) const {
    std::string all = std::string(listener) + '\0' + std::to_string(static_cast<int>(settings_.client_certificates));
    const std::string* authorities = settings_.client_ca ? files_.find(*settings_.client_ca) : nullptr;
    if (authorities != nullptr) all += *authorities;
    std::array<unsigned char, 32> digest{};
    EVP_Digest(all.data(), all.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
    return digest;
  }

  // Gives the number of the context that shows it now; nothing where it cannot be used.
  std::optional<std::size_t> add(const Pair& pair, const std::string& pointer) {
    const std::vector<std::string> names = openssl::names_of(pair.leaf.get());
    // The same names with a key of another kind (RSA and ECDSA): one context, and OpenSSL takes what the client can.
    const auto same = std::ranges::find(parts_.names, names);
    if (same != parts_.names.end() && !names.empty()) {
      const auto number = static_cast<std::size_t>(same - parts_.names.begin());
      SSL_CTX* const context = parts_.contexts[number].get();
      if (SSL_CTX_get0_privatekey(context) != nullptr &&
          EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(context)) != EVP_PKEY_get_base_id(pair.key.get())) {
        openssl::use_pair(context, pair, pointer, problems_);
        return number;
      }
    }
    Context context = openssl::new_context(TLS_server_method(), settings_.minimum);
    if (!openssl::use_pair(context.get(), pair, pointer, problems_)) return std::nullopt;
    set_up(context.get());
    for (const std::string& name : names) parts_.by_name.emplace(name, parts_.contexts.size());
    parts_.names.push_back(names);
    parts_.contexts.push_back(std::move(context));
    return parts_.contexts.size() - 1;
  }

  void set_up(SSL_CTX* context) {
    const bool first = parts_.contexts.empty();  // only then complain
    if (settings_.ciphers && SSL_CTX_set_cipher_list(context, settings_.ciphers->c_str()) != 1 && first)
      problems_.emplace_back("/ciphers", "no cipher of TLS 1.2 fits this: " + openssl::take_error());
    if (settings_.groups && !set_groups(context, *settings_.groups) && first)
      problems_.emplace_back("/groups", "OpenSSL does not know one of these groups");
    SSL_CTX_set_session_id_context(context, resumable_as_.data(), static_cast<unsigned>(resumable_as_.size()));
    SSL_CTX_set_app_data(context, parts_.tickets.get());
    if (settings_.session_tickets) {
      SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
      SSL_CTX_set_timeout(context, std::chrono::seconds(TicketKeys::period).count());
      SSL_CTX_set_num_tickets(context, 1);
    } else {
      SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
      SSL_CTX_set_num_tickets(context, 0);
    }
    ask_clients(context, first);
  }

  void ask_clients(SSL_CTX* context, bool first) {
    using config::ClientCertificates;
    if (settings_.client_certificates == ClientCertificates::none) return;
    const bool require = settings_.client_certificates == ClientCertificates::require;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       require ? nullptr : accept_any);
    if (!settings_.client_ca) return;
    std::vector<TlsProblem> said_before;
    const std::size_t count =
        openssl::trust(context, files_, *settings_.client_ca, "/client_ca", first ? problems_ : said_before);
    const std::string* text = files_.find(*settings_.client_ca);
    if (count == 0 || count > most_announced_authorities || text == nullptr) return;
    const auto authorities = openssl::read_certificates(*text);
    for (const openssl::Certificate& each : *authorities) SSL_CTX_add_client_CA(context, each.get());
  }

  const config::ListenerTls& settings_;
  const TlsFiles& files_;
  Parts& parts_;
  std::vector<TlsProblem>& problems_;
  std::array<unsigned char, 32> resumable_as_;
};

}  // namespace

// Exact before wildcard; a wildcard stands for one label (RFC 6125 6.4.3).
SSL_CTX* TlsServerContext::Parts::find(std::string name) const {
  name = plain_name(std::move(name));
  auto found = by_name.find(name);
  const std::size_t dot = name.find('.');
  if (found == by_name.end() && dot != std::string::npos && dot > 0) found = by_name.find("*" + name.substr(dot));
  return found == by_name.end() ? nullptr : contexts[found->second].get();
}

SSL_CTX* TlsServerContext::Parts::begin_with(const TlsMeant& meant) const {
  const auto fits = [&meant](const auto& each) {
    return config::contains(each.first, reinterpret_cast<const sockaddr*>(&*meant.destination));
  };
  const auto found = meant.destination ? std::ranges::find_if(by_destination, fits) : by_destination.end();
  return contexts[found == by_destination.end() ? 0 : found->second].get();
}

std::shared_ptr<const TlsServerContext> TlsServerContext::make(const config::ListenerTls& settings,
                                                               std::string_view listener, const TlsFiles& files,
                                                               std::shared_ptr<TicketKeys> tickets,
                                                               std::vector<TlsProblem>& problems) {
  auto parts = std::make_unique<Parts>();
  parts->tickets = tickets ? std::move(tickets) : std::make_shared<TicketKeys>();
  std::vector<TlsProblem> found;
  Maker(settings, listener, files, *parts, found).run();
  const bool good = std::ranges::all_of(found, &TlsProblem::warning) && !parts->contexts.empty();
  problems.insert(problems.end(), found.begin(), found.end());
  return good ? std::make_shared<const TlsServerContext>(std::move(parts)) : nullptr;
}

TlsServerContext::TlsServerContext(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsServerContext::~TlsServerContext() = default;
ssl_st* TlsServerContext::new_connection(const TlsMeant& meant) const { return SSL_new(parts_->begin_with(meant)); }
bool TlsServerContext::makes_certificates() const { return parts_->local_ca != nullptr; }
const std::shared_ptr<TicketKeys>& TlsServerContext::tickets() const { return parts_->tickets; }

}  // namespace io
