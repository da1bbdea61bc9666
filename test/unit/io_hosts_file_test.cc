#include <doctest/doctest.h>

#include <arpa/inet.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "proxy/io/dns_answer.h"
#include "proxy/io/hosts_file.h"

namespace {

using io::HostsFile;
using io::RecordType;

// "192.0.2.1 192.0.2.2", the reason of a denial, or "-" for a name that is not in the file.
std::string says(const HostsFile& hosts, const std::string& name, RecordType type) {
  const auto answer = hosts.look_up(name, type);
  if (!answer) return "-";
  if (!answer->has_value()) return answer->error().why == io::NotFound::Why::no_data ? "no data" : "?";
  std::string all;
  for (const io::Record& record : answer->value().records) {
    char text[INET6_ADDRSTRLEN] = "";
    if (const auto* pointer = std::get_if<io::PtrRecord>(&record)) all += pointer->name + " ";
    else if (const auto* address = std::get_if<io::AddressRecord>(&record))
      all += std::string(::inet_ntop(address->family, address->octets.data(), text, sizeof text)) + " ";
  }
  all.pop_back();
  return all;
}

TEST_CASE("hosts file") {
  const HostsFile hosts(
      "# a comment\n"
      "\n"
      "127.0.0.1\tlocalhost  here # and another\n"
      "::1 localhost\r\n"
      "192.0.2.1 MX.Example.ORG mx\n"
      "192.0.2.2 mx.example.org\n"
      "192.0.2.2 mx.example.org\n"
      "  2001:db8::1   six.test.\n"
      "300.1.1.1 bad.test\n"
      "fe80::1%lo0 scoped.test\n"
      "192.0.2.3 a..b \xC3\xA9.test good.test\n"
      "192.0.2.4\n"
      "name 192.0.2.5\n"
      "192.0.2.6 last.test");
  CHECK(says(hosts, "localhost", RecordType::a) == "127.0.0.1");
  CHECK(says(hosts, "here", RecordType::a) == "127.0.0.1");
  CHECK(says(hosts, "and", RecordType::a) == "-");
  CHECK(says(hosts, "LOCALHOST.", RecordType::aaaa) == "::1");
  CHECK(says(hosts, "mx.example.org", RecordType::a) == "192.0.2.1 192.0.2.2");
  CHECK(says(hosts, "mx.example.org", RecordType::aaaa) == "no data");
  CHECK(says(hosts, "mx", RecordType::a) == "192.0.2.1");
  CHECK(says(hosts, "six.test", RecordType::aaaa) == "2001:db8::1");
  CHECK(says(hosts, "bad.test", RecordType::a) == "-");
  CHECK(says(hosts, "scoped.test", RecordType::aaaa) == "-");
  CHECK(says(hosts, "a..b", RecordType::a) == "-");
  CHECK(says(hosts, "good.test", RecordType::a) == "192.0.2.3");
  CHECK(says(hosts, "192.0.2.5", RecordType::a) == "-");
  CHECK(says(hosts, "last.test", RecordType::a) == "192.0.2.6");
  CHECK(says(hosts, "localhost", RecordType::mx) == "-");
  CHECK(says(hosts, "1.2.0.192.in-addr.arpa", RecordType::ptr) == "MX.Example.ORG");
  CHECK(says(hosts, "3.2.0.192.in-addr.arpa", RecordType::ptr) == "good.test");
  CHECK(says(hosts, "4.2.0.192.in-addr.arpa", RecordType::ptr) == "-");
}

TEST_CASE("hosts file: none, a directory, a large one") {
  CHECK_FALSE(HostsFile::read("/nonexistent/hosts").has_value());
  CHECK(HostsFile::read("/nonexistent/hosts").error() == "No such file or directory");
  CHECK_FALSE(HostsFile::read("/").has_value());
  const std::string file = std::filesystem::temp_directory_path() / ("hosts." + std::to_string(::getpid()));
  std::ofstream(file).flush();
  CHECK(HostsFile::read(file).has_value());
  {
    std::ofstream out(file);
    for (int i = 0; i < 100'000; ++i) out << "0.0.0.0 n" << i << ".test\n";
  }
  const auto large = HostsFile::read(file);
  REQUIRE(large.has_value());
  CHECK(says(*large, "n99999.test", RecordType::a) == "0.0.0.0");
  CHECK(says(*large, "0.0.0.0.in-addr.arpa", RecordType::ptr) == "n0.test");
  std::filesystem::remove(file);
}

// A message with one answer of this type and rdata, to the root's name.
std::vector<std::uint8_t> packet(unsigned type, const std::string& rdata, unsigned ttl = 60) {
  std::string octets("\0\1\x81\x80\0\1\0\1\0\0\0\0", 12);
  const auto number = [&](unsigned value) { octets += {static_cast<char>(value >> 8U), static_cast<char>(value)}; };
  for (int i = 0; i < 2; ++i) {
    octets += '\0';
    number(type);
    number(1);
  }
  number(ttl >> 16U);
  number(ttl & 0xFFFFU);
  number(static_cast<unsigned>(rdata.size()));
  octets += rdata;
  return {octets.begin(), octets.end()};
}

TEST_CASE("answers: octets that are none") {
  struct Case {
    RecordType type;
    std::string rdata;
  };
  for (const Case& c : {
           Case{RecordType::a, "\1\2\3"},
           Case{RecordType::a, "\1\2\3\4\5"},
           Case{RecordType::aaaa, "\1\2\3\4"},
           Case{RecordType::mx, std::string("\0", 1)},
           Case{RecordType::mx, std::string("\0\1", 2)},
           Case{RecordType::mx, std::string("\0\1\2ab", 5)},     // a name without end
           Case{RecordType::mx, std::string("\0\1\2ab\0x", 7)},  // more than the name
           Case{RecordType::ptr, "\xC0\xFF"},                    // a pointer to the outside
           Case{RecordType::ptr, std::string("\xC0\x1C", 2)},    // to itself
           Case{RecordType::ptr, ""},
           Case{RecordType::txt, "\4abc"},
           Case{RecordType::tlsa, "\3\1"},
       }) {
    CAPTURE(static_cast<int>(c.type));
    CAPTURE(c.rdata);
    const io::Lookup answer = io::parse_answer(packet(static_cast<unsigned>(c.type), c.rdata), c.type, true);
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().why == io::NotFound::Why::failed);
    CHECK(answer.error().text == "a malformed answer");
  }
  const std::vector<std::uint8_t> whole = packet(1, "\1\2\3\4");
  CHECK(io::parse_answer(whole, RecordType::a, true)->secure);
  CHECK_FALSE(io::parse_answer(whole, RecordType::a, false)->secure);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(io::parse_answer(std::span(whole).first(size), RecordType::a, true).has_value());
  }
  std::vector<std::uint8_t> truncated = whole;
  truncated[2] |= 0x02U;
  CHECK(io::parse_answer(truncated, RecordType::a, true).error().text == "a malformed answer");
  CHECK(io::parse_answer(packet(1, "\1\2\3\4", 0xFFFFFFFFU), RecordType::a, true)->ttl <=
        std::chrono::seconds(0x7FFFFFFF));
}

TEST_CASE("answers: any single octet may be wrong") {
  const std::vector<std::uint8_t> whole = packet(15, std::string("\0\1\2ab\4test\0", 11));
  REQUIRE(io::parse_answer(whole, RecordType::mx, true).has_value());
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (unsigned value = 0; value < 256; ++value) {
      std::vector<std::uint8_t> odd = whole;
      odd[at] = static_cast<std::uint8_t>(value);
      const io::Lookup answer = io::parse_answer(odd, RecordType::mx, true);
      if (answer) CHECK_FALSE(answer->records.empty());
      else CHECK_FALSE(answer.error().text.empty());
    }
}

}  // namespace
