// All TLS contexts of a config, as one immutable value: made at start and again on reload, shared by the loops.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/io/tls_context.h"

namespace io {

struct TlsContexts {
  std::vector<std::shared_ptr<const TlsServerContext>> listeners;  // in config order; nullptr: mode none
  std::map<std::string, std::shared_ptr<const TlsClientContext>, std::less<>> downstreams;  // those with TLS

  // nullptr if anything is wrong, so that the caller keeps what it had. All of it, and warnings in any case, is added
  // to `problems`. Listeners that `former` knows by name in `former_config` keep their ticket keys.
  static std::shared_ptr<const TlsContexts> make(const config::Config& config, const TlsFiles& files,
                                                 std::vector<TlsProblem>& problems, const TlsContexts* former = nullptr,
                                                 const config::Config* former_config = nullptr);
  // Of a downstream by name; nullptr: no TLS.
  std::shared_ptr<const TlsClientContext> downstream(std::string_view name) const;
};

// Reads the files of a config and tries them: for `gatepost check`, and before a start.
std::vector<TlsProblem> check_tls(const config::Config& config);

}  // namespace io
