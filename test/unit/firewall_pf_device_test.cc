// firewall/pf_device.cc as a BSD compiles it, over a pf of the test's own: its open() and ioctl() come here (--wrap).
#include <doctest/doctest.h>
#include <fcntl.h>
#include <net/pfvar.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <string>

#include "firewall/pf_device.h"
#include "firewall/pf_natlook.h"
#include "test/unit/firewall_pf_fixture.h"

namespace {

using pf_test::at;
using pf_test::text_of;

struct Pf {
  int refuses_to_open = 0;
  std::string opened;
  int flags = 0;
  int asked_of = -1;
  config::Endpoint client, us, meant;
} pf;

int answer(pfioc_natlook& question) {
  pf_addr source{}, destination{};
  const bool known = question.sport == firewall::pf::put(pf.client.address, source) &&
                     question.dport == firewall::pf::put(pf.us.address, destination) &&
                     std::memcmp(&source, &question.saddr, sizeof source) == 0 &&
                     std::memcmp(&destination, &question.daddr, sizeof destination) == 0;
  errno = ENOENT;
  if (!known) return -1;
  question.rdport = firewall::pf::put(pf.meant.address, question.rdaddr);
  return 0;
}

}  // namespace

extern "C" {
int __wrap_open(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...);
int __wrap_ioctl(int device, unsigned long request, ...);

int __wrap_open(const char* path, int flags, ...) {
  pf.opened = path;
  pf.flags = flags;
  errno = pf.refuses_to_open;
  return pf.refuses_to_open != 0 ? -1 : 77;
}
int __wrap_open64(const char* path, int flags, ...) { return __wrap_open(path, flags); }

int __wrap_ioctl(int device, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  auto* question = va_arg(rest, pfioc_natlook*);
  va_end(rest);
  pf.asked_of = device;
  if (request == DIOCNATLOOK) return answer(*question);
  errno = ENOTTY;
  return -1;
}
}

TEST_CASE("pf's device is opened for reading, or the error is told") {
  pf = {};
  CHECK(firewall::open_pf() == 77);
  CHECK(pf.opened == "/dev/pf");
  CHECK((pf.flags & O_ACCMODE) == O_RDONLY);
  CHECK((pf.flags & O_CLOEXEC) != 0);
  pf.refuses_to_open = EACCES;
  CHECK(firewall::open_pf().error() == EACCES);
}

TEST_CASE("pf's device is asked about both ends of a connection") {
  pf = {};
  pf.meant = at("192.0.2.25:25");
  pf.client = at("203.0.113.9:4711");
  pf.us = at("127.0.0.1:2525");
  const auto found = firewall::ask_pf(77, pf.client.address, pf.us.address);
  REQUIRE(found);
  CHECK(text_of(*found) == "192.0.2.25:25");
  CHECK(pf.asked_of == 77);
  CHECK(firewall::ask_pf(77, at("203.0.113.9:4712").address, pf.us.address).error() == ENOENT);
}
