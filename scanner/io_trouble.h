// Failures of temporary files that libclamav keeps to itself.
//
// With a full or missing temporary directory, or without descriptors, libclamav (1.4.6) skips the part that it could
// not unpack and calls the message clean. io_trouble.cc defines write, open64, mkdir, ... in this program, where they
// take precedence over libc's for libclamav too, and notes what failed. Not thread-safe: a worker is one thread.
#pragma once

namespace scanner {

enum class IoTrouble { none, storage, memory };

void forget_io_trouble();  // before a scan
IoTrouble io_trouble();    // the worst since then
int io_trouble_errno();    // of its first occurrence

}  // namespace scanner
