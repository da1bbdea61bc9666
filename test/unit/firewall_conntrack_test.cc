#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "firewall/conntrack.h"

namespace {

struct Tables {
  Tables() {
    std::string pattern = (std::filesystem::temp_directory_path() / "conntrack-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory = pattern;
  }
  ~Tables() { std::filesystem::remove_all(directory); }
  void hold(const std::string& count, const std::string& most) const {
    std::ofstream(directory + "/nf_conntrack_count") << count << "\n";
    std::ofstream(directory + "/nf_conntrack_max") << most << "\n";
  }
  std::string directory;
};

}  // namespace

TEST_CASE("the log hears once that connection tracking is nearly full, and again when it was not in between") {
  const Tables tables;
  firewall::ConntrackWatch watch(tables.directory);
  CHECK(!watch.look());  // a kernel without it
  tables.hold("79", "100");
  CHECK(!watch.look());
  tables.hold("80", "100");
  const auto told = watch.look();
  REQUIRE(told);
  CHECK(told->find("80 of 100") != std::string::npos);
  CHECK(told->find("to this host and through it") != std::string::npos);
  CHECK(told->find("sysctl -w net.netfilter.nf_conntrack_max=200") != std::string::npos);
  tables.hold("99", "100");
  CHECK(!watch.look());
  tables.hold("70", "100");
  CHECK(!watch.look());
  tables.hold("90", "100");
  CHECK(!watch.look());
  tables.hold("59", "100");
  CHECK(!watch.look());
  tables.hold("90", "100");
  CHECK(watch.look());
}

TEST_CASE("tables without a bound, and what is no number") {
  const Tables tables;
  firewall::ConntrackWatch watch(tables.directory);
  tables.hold("90", "0");
  CHECK(!watch.look());
  tables.hold("many", "100");
  CHECK(!watch.look());
  tables.hold("100", "");
  CHECK(!watch.look());
}

TEST_CASE("Linux's rules need it") {
  config::Config config;
  config.listeners.resize(2);
  config.firewall.gate.queue = 100;
  CHECK(!firewall::needs_conntrack(config));  // nothing is intercepted
  for (const config::Intercept way : {config::Intercept::redirect, config::Intercept::tproxy}) {
    config.listeners[1].intercept = way;
    CHECK(firewall::needs_conntrack(config));
  }
  config.listeners[1].intercept = config::Intercept::pf_rdr;
  CHECK(!firewall::needs_conntrack(config));
}
