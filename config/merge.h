// One document out of gatepost.json and conf.d/*.json.
#pragma once

#include "config/document.h"
#include "config/problems.h"

namespace config {

// Merges `later` into `into`: objects key by key, arrays by appending. A scalar that both have is an error, unless the
// later object around it says "override": true; then the later scalar stands. Two kinds of value are always an error.
// The marks themselves do not get into the result.
void merge(Node& into, Node later, Problems& problems);

}  // namespace config
