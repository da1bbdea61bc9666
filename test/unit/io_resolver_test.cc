#include "test/unit/resolver_world.h"

namespace {

using dns_test::a;
using dns_test::aaaa;
using dns_test::address;
using dns_test::all;
using dns_test::always;
using dns_test::Answers;
using dns_test::cname;
using dns_test::message;
using dns_test::number16;
using dns_test::Question;
using dns_test::record;
using dns_test::Reply;
using dns_test::why;
using dns_test::wire_name;
using dns_test::World;
using io::Lookup;
using io::RecordType;
using Why = io::NotFound::Why;

TEST_CASE("resolver: A, in the order of the answer, with the least time to live") {
  World world(always({{a("mx.test", "192.0.2.2", 300), a("mx.test", "192.0.2.1", 40)}}));
  const Lookup answer = world.ask("mx.test", RecordType::a);
  CHECK(all<io::AddressRecord>(answer) == std::vector{address("192.0.2.2"), address("192.0.2.1")});
  CHECK(answer->ttl <= std::chrono::seconds(40));
  CHECK(answer->ttl >= std::chrono::seconds(30));
  CHECK_FALSE(answer->secure);
  CHECK(answer->name == "mx.test");
  CHECK(world.resolver->in_flight() == 0);
}

TEST_CASE("resolver: the other types") {
  World world([](const Question& question) {
    const std::string& name = question.name;
    const auto type = static_cast<unsigned>(question.type);
    Reply reply;
    const auto add = [&](const std::string& rdata) { reply.answers.push_back(record(name, type, 60, rdata)); };
    if (question.type == RecordType::aaaa) reply.answers = {aaaa(name, "2001:db8::1")};
    if (question.type == RecordType::mx) {
      add(number16(20) + wire_name("two.test"));
      add(number16(10) + wire_name("one.test"));
    }
    if (question.type == RecordType::txt) add(std::string("\3v=s\2pf\0", 8));
    if (question.type == RecordType::ptr) add(wire_name("mx.test"));
    if (question.type == RecordType::tlsa) add(std::string("\3\1\1", 3) + std::string(32, '\xAB'));
    return Answers{message(question, reply)};
  });
  CHECK(all<io::AddressRecord>(world.ask("x.test", RecordType::aaaa)) == std::vector{address("2001:db8::1")});
  CHECK(all<io::MxRecord>(world.ask("x.test", RecordType::mx)) ==
        std::vector<io::MxRecord>{{20, "two.test"}, {10, "one.test"}});
  CHECK(all<io::TxtRecord>(world.ask("x.test", RecordType::txt)) == std::vector<io::TxtRecord>{{"v=spf"}});
  CHECK(all<io::PtrRecord>(world.ask("1.2.0.192.in-addr.arpa", RecordType::ptr)) ==
        std::vector<io::PtrRecord>{{"mx.test"}});
  CHECK(all<io::PtrRecord>(world.ask("4.3.2.10.in-addr.arpa", RecordType::ptr)).size() == 1);  // private, yet asked
  CHECK(all<io::TlsaRecord>(world.ask("_25._tcp.x.test", RecordType::tlsa)) ==
        std::vector<io::TlsaRecord>{{3, 1, 1, std::string(32, '\xAB')}});
}

TEST_CASE("resolver: null MX, and a name with odd octets") {
  World world([](const Question& question) {
    const auto type = static_cast<unsigned>(question.type);
    const std::string rdata =
        question.type == RecordType::mx ? number16(0) + wire_name("") : wire_name("a\nb\\c\xFF.test");
    return Answers{message(question, {{record(question.name, type, 60, rdata)}})};
  });
  CHECK(all<io::MxRecord>(world.ask("null.test", RecordType::mx)) == std::vector<io::MxRecord>{{0, ""}});
  CHECK(all<io::PtrRecord>(world.ask("1.0.0.192.in-addr.arpa", RecordType::ptr)) ==
        std::vector<io::PtrRecord>{{R"(a\010b\\c\255.test)"}});
}

TEST_CASE("resolver: no such name and no data hold as long as the SOA record says") {
  World world([](const Question& question) {
    const unsigned code = question.name.starts_with("gone") ? 3 : 0;
    return Answers{message(question, {{}, code, false, {dns_test::soa("test", 77)}})};
  });
  const io::NotFound gone = why(world.ask("gone.test", RecordType::a));
  CHECK(gone.why == Why::no_such_name);
  CHECK(gone.text == "no such name");
  CHECK(gone.ttl <= std::chrono::seconds(77));
  CHECK(gone.ttl >= std::chrono::seconds(70));
  const io::NotFound empty = why(world.ask("empty.test", RecordType::aaaa));
  CHECK(empty.why == Why::no_data);
  CHECK(empty.text == "no AAAA record");
  CHECK(world.server.asked.size() == 2);
  CHECK(why(world.ask("gone.test", RecordType::a)).why == Why::no_such_name);
  CHECK(world.server.asked.size() == 2);  // still held
}

TEST_CASE("resolver: texts that are no names are not asked for") {
  World world(always({}));
  for (const std::string name :
       {"", ".", "a..b", ".a", "a b", "a\nb", "a\\.b", "\xC3\xA9.test", "*.test", "a.test..", "[192.0.2.1]"}) {
    CAPTURE(name);
    CHECK(why(world.ask(name, RecordType::a)).why == Why::no_such_name);
  }
  CHECK(why(world.ask(std::string(64, 'a') + ".test", RecordType::a)).why == Why::no_such_name);
  std::string longest;
  while (longest.size() < 252) longest += "a.";
  CHECK(why(world.ask(longest + "aa", RecordType::a)).why == Why::no_such_name);
  CHECK(world.server.asked.empty());
  CHECK(why(world.ask(longest + "a", RecordType::a)).why == Why::no_data);
  CHECK(world.server.asked.size() == 1);
}

TEST_CASE("resolver: aliases are followed, and end when they go in a circle") {
  World world([](const Question& question) {
    if (question.name == "alias.test")
      return Answers{message(question, {{cname("alias.test", "next.test", 20), cname("next.test", "mx.test", 90),
                                         a("mx.test", "192.0.2.7", 90)}})};
    if (question.name == "next.test") return Answers{message(question, {{cname("next.test", "mx.test", 90)}})};
    if (question.name == "half.test") return Answers{message(question, {{cname("half.test", "mx.test")}})};
    if (question.name == "mx.test") return Answers{message(question, {{a("mx.test", "192.0.2.8")}})};
    if (question.name == "nowhere.test") return Answers{message(question, {{cname("nowhere.test", "gone.test")}})};
    if (question.name == "gone.test") return Answers{message(question, {{}, 3})};
    const std::string other = question.name == "one.test" ? "two.test" : "one.test";
    return Answers{message(question, {{cname(question.name, other)}})};
  });
  const Lookup chain = world.ask("alias.test", RecordType::a);
  REQUIRE(chain.has_value());
  CHECK(chain->name == "mx.test");
  CHECK(chain->ttl <= std::chrono::seconds(20));
  const Lookup half = world.ask("HALF.test", RecordType::a);
  REQUIRE(half.has_value());
  CHECK(half->name == "mx.test");
  CHECK(why(world.ask("nowhere.test", RecordType::a)).why == Why::no_such_name);
  CHECK(why(world.ask("one.test", RecordType::a)).why == Why::failed);
  CHECK(world.server.asked.size() < 100);
}

TEST_CASE("resolver: servers that fail, refuse or talk nonsense") {
  for (const unsigned code : {1U, 2U, 4U, 5U, 9U}) {
    CAPTURE(code);
    World world(always({{}, code}));
    const io::NotFound failed = why(world.ask("x.test", RecordType::a));
    CHECK(failed.why == Why::failed);
    CHECK_FALSE(failed.text.empty());
  }
  World cut([](const Question& question) {
    std::string answer = message(question, {{a("x.test", "192.0.2.1")}});
    answer.resize(answer.size() - 3);
    return Answers{answer};
  });
  CHECK(why(cut.ask("x.test", RecordType::a, std::chrono::milliseconds(300))).why == Why::failed);
  World foreign([](const Question& question) { return Answers{message(question, {{a("other.test", "192.0.2.1")}})}; });
  CHECK(why(foreign.ask("x.test", RecordType::a, std::chrono::milliseconds(300))).why != Why::bogus);
}

TEST_CASE("resolver: what is too long for UDP is fetched by TCP") {
  std::string text;
  for (int i = 0; i < 200; ++i) text += '\xC8' + std::string(200, static_cast<char>('a' + i % 26));
  World world([text](const Question& question) {
    if (!question.tcp) return Answers{message(question, {{}, 0, true})};
    return Answers{message(question, {{record("long.test", 16, 60, text)}})};
  });
  const auto got = all<io::TxtRecord>(world.ask("long.test", RecordType::txt));
  REQUIRE(got.size() == 1);
  CHECK(got.front().text.size() == 40000);
  CHECK(got.front().text.starts_with(std::string(200, 'a') + "b"));
  CHECK(world.server.asked.size() == 2);
}

TEST_CASE("resolver: many addresses") {
  World world([](const Question& question) {
    if (!question.tcp) return Answers{message(question, {{}, 0, true})};
    Reply reply;
    for (int i = 0; i < 1000; ++i)
      reply.answers.push_back(a("many.test", "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250)));
    return Answers{message(question, reply)};
  });
  CHECK(all<io::AddressRecord>(world.ask("many.test", RecordType::a)).size() == 1000);
}

TEST_CASE("resolver: a forged answer is not taken") {
  World other_id([](const Question& question) {
    Question forged = question;
    forged.id = static_cast<std::uint16_t>(question.id + 1);
    return Answers{message(forged, {{a("x.test", "203.0.113.66")}}), message(question, {{a("x.test", "192.0.2.1")}})};
  });
  CHECK(all<io::AddressRecord>(other_id.ask("x.test", RecordType::a)) == std::vector{address("192.0.2.1")});
  World other_question([](const Question& question) {
    Question forged = question;
    forged.section = wire_name("other.test") + number16(1) + number16(1);
    return Answers{message(forged, {{a("x.test", "203.0.113.66"), a("other.test", "203.0.113.66")}})};
  });
  CHECK(why(other_question.ask("x.test", RecordType::a)).why == Why::failed);
  World foreign_record([](const Question& question) {
    return Answers{message(question, {{a("x.test", "192.0.2.1"), a("victim.test", "203.0.113.66")}})};
  });
  CHECK(all<io::AddressRecord>(foreign_record.ask("x.test", RecordType::a)) == std::vector{address("192.0.2.1")});
  const std::size_t asked = foreign_record.server.asked.size();
  foreign_record.server.script = [](const Question& question) {
    return Answers{message(question, {{a("victim.test", "192.0.2.2")}})};
  };
  CHECK(all<io::AddressRecord>(foreign_record.ask("victim.test", RecordType::a)) == std::vector{address("192.0.2.2")});
  CHECK(foreign_record.server.asked.size() == asked + 1);  // what came unasked was not kept
}

TEST_CASE("resolver: an answer of no time to live is asked for again, others are kept") {
  World world([](const Question& question) {
    return Answers{message(question, {{a(question.name, "192.0.2.1", question.name == "zero.test" ? 0 : 60)}})};
  });
  for (int i = 0; i < 3; ++i) CHECK(world.ask("zero.test", RecordType::a)->ttl == std::chrono::seconds(0));
  CHECK(world.asked_for("zero.test") == 3);
  for (int i = 0; i < 3; ++i) CHECK(world.ask("minute.test", RecordType::a).has_value());
  CHECK(world.asked_for("minute.test") == 1);
}

TEST_CASE("resolver: the hosts file comes first") {
  const auto hosts = std::make_shared<const io::HostsFile>("192.0.2.9 known.test\n");
  World world(always({{a("x.test", "192.0.2.1")}}), hosts);
  CHECK(all<io::AddressRecord>(world.ask("known.test", RecordType::a)) == std::vector{address("192.0.2.9")});
  CHECK(why(world.ask("known.test", RecordType::aaaa)).why == Why::no_data);
  CHECK(world.server.asked.empty());
  CHECK(all<io::AddressRecord>(world.ask("x.test", RecordType::a)) == std::vector{address("192.0.2.1")});
}

TEST_CASE("names under which PTR records stand") {
  const auto reverse = [](const std::string& text) {
    sockaddr_in four{};
    sockaddr_in6 six{};
    four.sin_family = AF_INET;
    six.sin6_family = AF_INET6;
    if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1)
      return io::reverse_name(reinterpret_cast<const sockaddr*>(&four));
    REQUIRE(::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1);
    return io::reverse_name(reinterpret_cast<const sockaddr*>(&six));
  };
  CHECK(reverse("192.0.2.34") == "34.2.0.192.in-addr.arpa");
  CHECK(reverse("::ffff:192.0.2.34") == "34.2.0.192.in-addr.arpa");
  CHECK(reverse("2001:db8::567:89ab") == "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
  sockaddr_storage other{};
  other.ss_family = AF_UNIX;
  CHECK(io::reverse_name(reinterpret_cast<const sockaddr*>(&other)).empty());
}

}  // namespace
