// One value: node of the document <-> member of a struct, by the row of the table between them.
#pragma once

#include <optional>

#include "config/document.h"
#include "config/problems.h"
#include "config/settings.h"
#include "config/surroundings.h"

namespace config {

// Reads `node` into the member of `owner`; what is wrong goes to `problems` and leaves the member as it was.
void read_value(const Setting& setting, void* owner, const Node& node, const Path& path, const Surroundings& machine,
                Problems& problems);
// As read_value takes it; nothing where the member is empty and an empty text or list would be wrong.
std::optional<Node> write_value(const Setting& setting, void* owner);

}  // namespace config
