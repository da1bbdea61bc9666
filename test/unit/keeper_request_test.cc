#include <doctest/doctest.h>

#include <string>

#include "proxy/keeper/request.h"

using keeper::Answer;
using keeper::Request;

namespace {

Request delivery() {
  Request request;
  request.id = 0x0102030405060708;
  request.path = "/srv/mail/%domain/%local";
  request.create = true;
  request.return_path = "a@example.org";
  request.received = "Received: from x\r\n\tby y with ESMTP id 1";
  request.extra_fields = "X-Gatepost-Verdict: suspicious\r\n";
  request.prefix = 72;
  request.size = 1ull << 40;
  request.recipients = {{"b", "example.org", "b@example.org"}, {std::string("\0\xff", 2), "", "\"\"@x"}};
  return request;
}

}  // namespace

TEST_CASE("requests and answers survive the way, whatever octets they hold") {
  CHECK(keeper::decode_request(encode(delivery())) == delivery());
  Request lookup;
  lookup.kind = Request::Kind::lookup;
  lookup.recipients = {{"b", "example.org", "b@example.org"}};
  CHECK(keeper::decode_request(encode(lookup)) == lookup);
  Request recall;
  recall.kind = Request::Kind::recall;
  recall.keys = std::string(keeper::max_keys * keeper::key_octets, '\xff');
  CHECK(keeper::decode_request(encode(recall)) == recall);
  const Answer answer{Answer::Status::full, 42, "write /srv/mail: No space left on device", "0110"};
  CHECK(keeper::decode_answer(encode(answer)) == answer);
}

TEST_CASE("a cut or lengthened packet is no request and no answer") {
  const std::string request = encode(delivery());
  for (std::size_t length = 0; length < request.size(); ++length)
    CHECK_FALSE(keeper::decode_request(request.substr(0, length)));
  CHECK_FALSE(keeper::decode_request(request + '\0'));
  const std::string answer = encode(Answer{Answer::Status::kept, 1, "x", "1"});
  for (std::size_t length = 0; length < answer.size(); ++length)
    CHECK_FALSE(keeper::decode_answer(answer.substr(0, length)));
  CHECK_FALSE(keeper::decode_answer(answer + '\0'));
  CHECK_FALSE(keeper::decode_request(answer));
  CHECK_FALSE(keeper::decode_answer(request));
}

TEST_CASE("every octet changed to every value: never a crash, never a request out of bounds") {
  const std::string good = encode(delivery());
  for (std::size_t at = 0; at < good.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[at] = static_cast<char>(value);
      if (const auto request = keeper::decode_request(bad)) {
        const bool sane = !request->recipients.empty() && request->recipients.size() <= 100 &&
                          (request->kind == Request::Kind::deliver || request->recipients.size() == 1);
        if (!sane) {
          CAPTURE(at);
          CHECK(sane);
        }
      }
    }
}

TEST_CASE("what does not fit in one packet is not encoded") {
  Request many = delivery();
  many.recipients.assign(101, {"b", "example.org", "b@example.org"});
  CHECK(encode(many).empty());
  many.recipients.resize(100);
  CHECK(keeper::decode_request(encode(many)) == many);
  Request large = delivery();
  large.extra_fields.assign(70'000, 'x');
  CHECK(encode(large).empty());
}

TEST_CASE("no recipient, or a lookup of two, is refused") {
  Request none = delivery();
  none.recipients.clear();
  CHECK_FALSE(keeper::decode_request(encode(none)));
  Request two = delivery();
  two.kind = Request::Kind::lookup;
  CHECK_FALSE(keeper::decode_request(encode(two)));
}

TEST_CASE("journal: keys and nothing else, whole, and no more than fit") {
  for (const auto kind : {Request::Kind::recall, Request::Kind::remember, Request::Kind::forget}) {
    Request request;
    request.kind = kind;
    CHECK_FALSE(keeper::decode_request(encode(request)));
    request.keys.assign(keeper::key_octets, 'k');
    CHECK(keeper::decode_request(encode(request)) == request);
    request.keys += 'k';
    CHECK_FALSE(keeper::decode_request(encode(request)));
    request.keys.assign((keeper::max_keys + 1) * keeper::key_octets, 'k');
    CHECK_FALSE(keeper::decode_request(encode(request)));
    request.keys.assign(keeper::key_octets, 'k');
    request.recipients = {{"b", "example.org", "b@example.org"}};
    CHECK_FALSE(keeper::decode_request(encode(request)));
  }
  Request mail = delivery();
  mail.keys.assign(keeper::key_octets, 'k');
  CHECK_FALSE(keeper::decode_request(encode(mail)));
}
