#include "config/settings_rows.h"

namespace config {

using namespace rows;

namespace {

Section certificate_settings() {
  using P = CertificatePair;
  return sequence<&ListenerTls::certificates>(
      "certificates", false,
      "Certificates with their keys, chosen by the name that the client asks for (SNI), then by destinations.",
      {
          key<&P::certificate>("certificate", needed(as(absolute_path)),
                               "PEM file: the server's certificate first, then the intermediate ones."),
          key<&P::key>("key", needed(as(absolute_path)), "PEM file of its private key, without a passphrase."),
          key<&P::destinations>("destinations", {},
                                "Servers that clients of intercepted connections mean: for those that ask for no name, "
                                "or for an unknown one."),
      });
}

Section local_ca_settings() {
  return object<&ListenerTls::local_ca>(
      "local_ca",
      "Where connections are intercepted: an authority that signs certificates for the servers that clients mean, as far "
      "as none of certificates is for these; clients have to trust it.",
      {
          key<&LocalCa::certificate>("certificate", as(absolute_path),
                                     "PEM file: the authority's certificate first, then those above it."),
          key<&LocalCa::key>("key", as(absolute_path), "PEM file of its private key, without a passphrase."),
      });
}

}  // namespace

Section listener_tls_settings() {
  using T = ListenerTls;
  return object<&Listener::tls>(
      "tls", "TLS with the clients; the first certificate is for those that ask for no name, or for an unknown one.",
      {
          key<&T::mode>("mode", {}, "Not at all, after the command STARTTLS, or from the first octet (port 465); pass, where connections are "
                         "intercepted: STARTTLS goes to the server, and what follows is not scanned."),
          key<&T::required>("required", {}, "Take no mail outside TLS: 530 5.7.0."),
          key<&T::pass_sources>("pass_sources", {},
                                "Clients whose STARTTLS goes to the server as with pass, although the others' does not."),
          key<&T::pass_destinations>("pass_destinations", {}, "Servers to which it does."),
          key<&T::client_certificates>(
              "client_certificates", {},
              "Ask clients for a certificate; require refuses those without one of client_ca."),
          key<&T::client_ca>("client_ca", as(absolute_path),
                             "PEM file, or directory of them, of the CAs that clients' certificates must come from."),
          key<&T::minimum>("minimum", {}, "Oldest version of TLS."),
          key<&T::ciphers>("ciphers", computed("those with forward secrecy and AES or ChaCha20", as(any_text)),
                           "Ciphers of TLS 1.2, as in ciphers(1ssl); those of TLS 1.3 are all good."),
          key<&T::groups>("groups", computed("those of OpenSSL", as(any_text)),
                          "Groups of the key exchange in order of preference, such as X25519:P-256."),
          key<&T::session_tickets>("session_tickets", {},
                                   "Let clients resume sessions; keys live in memory and change every two hours."),
      },
      {certificate_settings(), local_ca_settings()});
}

Section downstream_tls_settings() {
  using T = DownstreamTls;
  return object<&Downstream::tls>(
      "tls", "TLS with the servers.",
      {
          key<&T::mode>("mode", {},
                        "Never; where offered, else plain text; always, with any certificate; always, with one that "
                        "is verified."),
          key<&T::implicit>("implicit", {}, "From the first octet (port 465) instead of after STARTTLS."),
          key<&T::name>("name", computed("the host of the server", as(host_name)),
                        "Name to ask for (SNI) and to find in the certificate."),
          key<&T::ca>("ca", computed("Debian's ca-certificates", as(absolute_path)),
                      "PEM file, or directory of them, of the CAs that a verified certificate must come from."),
          key<&T::fingerprints>("fingerprints", as(fingerprint),
                                "SHA-256 of the server's certificate or of its public key; one must match, and name "
                                "and CA do not count."),
          key<&T::certificate>("certificate", as(absolute_path), "PEM file of our certificate, for servers that ask."),
          key<&T::key>("key", as(absolute_path), "PEM file of its private key, without a passphrase."),
          key<&T::minimum>("minimum", {}, "Oldest version of TLS."),
      });
}

}  // namespace config
