// The file of addresses and names (hosts(5)), read once and shared by all loops.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/io/resolver.h"

namespace io {

class HostsFile {
 public:
  // Lines that do not begin with an address, and names that cannot be asked for, are skipped, as everybody does.
  explicit HostsFile(std::string_view text);
  // The error says why the file cannot be read.
  static std::expected<HostsFile, std::string> read(const std::string& path);

  // For A, AAAA and PTR; nothing: the file does not know this name. A name that stands there only with an address of
  // the other family has no data: the DNS is not asked for half of it.
  std::optional<Lookup> look_up(std::string_view name, RecordType type) const;

 private:
  void add_line(std::string_view line);
  std::map<std::string, std::vector<Record>, std::less<>> addresses_;  // by name in lower case
  std::map<std::string, std::vector<Record>, std::less<>> names_;  // by reverse name: the first that its address has
};

// In lower case (ASCII) and without a dot at the end: the form in which names are compared (RFC 4343).
std::string folded(std::string_view name);

}  // namespace io
