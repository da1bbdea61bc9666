#include <doctest/doctest.h>

#include <algorithm>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using config_test::outcome;
using config_test::with;
using Lines = std::vector<std::string>;

TEST_CASE("load_text on this machine: no name is resolved, but that of a listener") {
  const auto text_of = [](const std::string& listens, const std::string& server) {
    return R"({"listeners":[{"name":"in","address":")" + listens + R"(","downstream":"mta"}],)" +
           R"("downstreams":{"mta":{"servers":[")" + server + "\"]}}}";
  };
  const auto said_of = [](const std::string& text, const std::string& pointer) {
    const auto loaded = config::load_text(text, "f");  // other errors: accounts that this machine may lack
    const auto errors = loaded ? std::vector<config::Error>{} : loaded.error();
    return std::ranges::any_of(errors, [&](const config::Error& error) { return error.pointer == pointer; });
  };
  CHECK_FALSE(said_of(text_of("127.0.0.1:25", "gone.invalid:25"), "/downstreams/mta/servers/0"));
  CHECK(said_of(text_of("gone.invalid:25", "127.0.0.1:26"), "/listeners/0/address"));
}

TEST_CASE("dns") {
  const auto dns = [](const std::string& text) { return outcome(with(",\n\"dns\":{" + text + "}")); };
  CHECK(dns("") == Lines{"ok"});
  CHECK(dns(R"("forwarders":["127.0.0.1:5353","[::1]:53"],"hosts":"","timeout":"2s")") == Lines{"ok"});
  CHECK(dns(R"("forwarders":["ns.test:53"])") ==
        Lines{"f:2:22: /dns/forwarders/0: \"ns.test\" is a name; write its address"});
  CHECK(dns(R"("forwarders":["127.0.0.1"])") ==
        Lines{"f:2:22: /dns/forwarders/0: \"127.0.0.1\" has no port; write HOST:PORT"});
  CHECK(dns(R"("forwarders":[])") == Lines{"f:2:21: /dns/forwarders: must not be empty"});
  CHECK(dns(R"("hosts":"etc/hosts")") == Lines{"f:2:16: /dns/hosts: \"etc/hosts\" must be an absolute path"});
  CHECK(dns(R"("hosts":"/gone")") == Lines{"ok", "f:2:16: /dns/hosts: \"/gone\" does not exist"});
  CHECK(dns(R"("dnssec":true,"trust_anchor":"/sig")") == Lines{"ok"});
  CHECK(
      dns(R"("dnssec":true,"trust_anchor":"/gone")") ==
      Lines{"f:2:37: /dns/trust_anchor: \"/gone\" does not exist, so no answer could be validated; install the package "
            "dns-root-data, or name another file"});
  CHECK(dns(R"("dnssec":false,"trust_anchor":"/gone")") == Lines{"ok"});
}

}  // namespace
