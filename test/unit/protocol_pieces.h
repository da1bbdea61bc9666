// Every codec case runs three ways: whole, one octet at a time, and with trailing octets (the test appends those).
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pieces {

// The input in pieces of at most `length` octets; never an empty list.
inline std::vector<std::string_view> cut(std::string_view input, std::size_t length) {
  std::vector<std::string_view> out;
  do {
    out.push_back(input.substr(0, length));
    input.remove_prefix(out.back().size());
  } while (!input.empty());
  return out;
}

// Calls `check` with the input whole, in twos and threes, and octet by octet.
template <class Check>
void each_split(std::string_view input, Check check) {
  for (const std::size_t length : {input.size() + 1, std::size_t{3}, std::size_t{2}, std::size_t{1}}) {
    CAPTURE(length);
    check(cut(input, length));
  }
}

}  // namespace pieces
