// Texts of config files -> Config, against given surroundings. load.h is the front; tests and fuzzing come in here.
#pragma once

#include <string>
#include <vector>

#include "config/load.h"
#include "config/surroundings.h"

namespace config {

struct Source {
  std::string name;  // for messages
  std::string text;
};

// The first source is the file itself, the others are conf.d in name order; at least one.
std::expected<Loaded, std::vector<Error>> build(const std::vector<Source>& sources, const Surroundings& machine);

}  // namespace config
