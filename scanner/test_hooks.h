// Settings::test_hooks: a line `X-Gatepost-Test: MARKER` in a message makes its worker fail on purpose.
#pragma once

#include <string>
#include <string_view>

namespace scanner {

// crash (SIGSEGV) | abort | exit | hang (leaving temporary files) | litter (leaves a file and goes on) |
// bloat (allocates until std::bad_alloc, which it throws). Without a known marker it returns at once.
void act_on_marker(std::string_view message, const std::string& temporary_directory);

}  // namespace scanner
