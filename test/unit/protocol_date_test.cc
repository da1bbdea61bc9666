#include "protocol/date.h"

#include <doctest/doctest.h>

using protocol::format_date;

namespace {

TEST_CASE("dates of mail") {
  CHECK(format_date(0) == "Thu, 1 Jan 1970 00:00:00 +0000");
  CHECK(format_date(784111777) == "Sun, 6 Nov 1994 08:49:37 +0000");
  CHECK(format_date(951827696) == "Tue, 29 Feb 2000 12:34:56 +0000");
  CHECK(format_date(4102444799) == "Thu, 31 Dec 2099 23:59:59 +0000");
  CHECK(format_date(-1) == "Wed, 31 Dec 1969 23:59:59 +0000");
}

}  // namespace
