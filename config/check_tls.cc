#include "config/check.h"
#include "config/quote.h"

namespace config {
namespace {

class TlsChecker {
 public:
  TlsChecker(const Config& config, Problems& problems) : config_(config), problems_(problems) {}

  void run() {
    for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
      at_ = "/listeners/" + std::to_string(i) + "/tls";
      if (!problems_.failed(at_)) listener(config_.listeners[i]);
    }
    for (const auto& [name, downstream] : config_.downstreams) {
      at_ = "/downstreams/" + escape_pointer(name) + "/tls";
      if (!problems_.failed(at_)) one_downstream(downstream);
    }
  }

 private:
  void error(const char* key, const char* text) { problems_.error(at_ + key, text); }

  void listener(const Listener& listener) {
    const ListenerTls& tls = listener.tls;
    if (tls.mode == ListenerTlsMode::pass) return passing(listener);
    local_ca(listener);
    passing_some(listener);
    if (tls.mode == ListenerTlsMode::none) {
      if (tls.required) error("/required", "cannot be kept with mode \"none\": nobody could send mail");
      if (!tls.certificates.empty())
        error("/mode", "is \"none\", so the certificates are of no use; say \"starttls\" or \"implicit\"");
      return;
    }
    if (tls.certificates.empty() && !tls.local_ca.on())
      error("/certificates", "missing: TLS needs at least one certificate with its key");
    for (std::size_t i = 0; i < tls.certificates.size(); ++i)
      if (!tls.certificates[i].destinations.empty() && listener.intercept == Intercept::none)
        error(("/certificates/" + std::to_string(i) + "/destinations").c_str(),
              "belong to a listener with intercept: other clients mean no server but us");
    if (tls.client_certificates != ClientCertificates::none && !tls.client_ca)
      error("/client_ca", "missing: without it no client's certificate can be verified");
    if (tls.client_certificates == ClientCertificates::none && tls.client_ca)
      error("/client_ca", "is of no use while client_certificates is \"none\"");
  }

  void local_ca(const Listener& listener) {
    const LocalCa& ca = listener.tls.local_ca;
    if (ca.certificate.has_value() != ca.key.has_value())
      error(ca.key ? "/local_ca/certificate" : "/local_ca/key", "missing: certificate and key go together");
    if (!ca.on()) return;
    if (!ends_tls(listener.tls.mode))
      return error("/local_ca", "is of no use without mode \"starttls\" or \"implicit\": only there we are one end of TLS");
    if (listener.intercept == Intercept::none)
      return error("/local_ca", "belongs to a listener with intercept: who connects to us knowingly gets our own certificate");
    const auto found = config_.downstreams.find(listener.downstream);
    if (found != config_.downstreams.end() && found->second.tls.mode != DownstreamTlsMode::verified)
      problems_.warning(at_ + "/local_ca",
                        in_quotes(listener.downstream) +
                            " does not verify servers, and clients cannot see any more with whom they speak: say "
                            "\"tls\": { \"mode\": \"verified\" } there where the server is known by name");
  }

  // Of a listener that does not pass on the others'.
  void passing_some(const Listener& listener) {
    const ListenerTls& tls = listener.tls;
    if (tls.pass_sources.empty() && tls.pass_destinations.empty()) return;
    const char* key = tls.pass_sources.empty() ? "/pass_destinations" : "/pass_sources";
    if (listener.intercept == Intercept::none)
      return error(key, "belongs to a listener with intercept: whoever connects to us knowingly gets our TLS");
    if (tls.mode == ListenerTlsMode::implicit)
      return error(key, "is for STARTTLS; with \"implicit\" use skip_sources or skip_destinations of the listener");
    const auto found = config_.downstreams.find(listener.downstream);
    if (found != config_.downstreams.end() && found->second.path)
      return error(key, "needs a downstream with servers or original: a maildir speaks no TLS");
    problems_.warning(at_ + key, "mail inside TLS of these is passed on unscanned");
  }

  void passing(const Listener& listener) {
    if (!listener.tls.pass_sources.empty() || !listener.tls.pass_destinations.empty())
      error("/mode", "is \"pass\" for all, so that pass_sources and pass_destinations are of no use");
    if (listener.intercept == Intercept::none)
      return error("/mode", "\"pass\" belongs to a listener with intercept: whoever connects to us knowingly gets our TLS");
    if (!listener.tls.certificates.empty()) error("/certificates", "are of no use with mode \"pass\": the server has its own");
    local_ca(listener);
    if (listener.tls.required) error("/required", "cannot be kept with mode \"pass\": mail inside that TLS is not ours to see");
    const auto found = config_.downstreams.find(listener.downstream);
    if (found == config_.downstreams.end()) return;
    if (found->second.path) error("/mode", "\"pass\" needs a downstream with servers or original: a maildir speaks no TLS");
    if (found->second.tls.mode != DownstreamTlsMode::none)
      error("/mode", "\"pass\" cannot be where we speak TLS with the server ourselves");
    problems_.warning(at_ + "/mode", "mail inside TLS is passed on unscanned");
  }

  void one_downstream(const Downstream& downstream) {
    const DownstreamTls& tls = downstream.tls;
    if (tls.certificate.has_value() != tls.key.has_value())
      error(tls.key ? "/certificate" : "/key", "missing: certificate and key go together");
    if (tls.mode == DownstreamTlsMode::none) {
      if (tls.implicit) error("/implicit", "cannot be with mode \"none\"");
    } else if (downstream.path) {
      error("/mode", "belongs to a downstream with servers: a maildir speaks no TLS");
    }
    if (tls.implicit && tls.mode == DownstreamTlsMode::opportunistic)
      error("/implicit", "leaves nothing to be opportunistic about; say \"required\" or \"verified\"");
    if (tls.mode != DownstreamTlsMode::verified && (tls.ca || !tls.fingerprints.empty()))
      error("/mode", "must be \"verified\" for ca and fingerprints to be looked at");
    if (tls.ca && !tls.fingerprints.empty()) error("/ca", "is of no use beside fingerprints: one of these must match");
  }

  const Config& config_;
  Problems& problems_;
  std::string at_;
};

}  // namespace

void check_tls(const Config& config, const Surroundings& machine, Problems& problems) {
  TlsChecker(config, problems).run();
  if (problems.any() || !machine.tls) return;  // certificates are read only for a config that is right otherwise
  for (const Finding& finding : machine.tls(config)) {
    if (finding.warning) problems.warning(finding.pointer, finding.text);
    else problems.error(finding.pointer, finding.text);
  }
}

}  // namespace config
