// JSON by the tree that the configuration is read with: facts, plans and states as files, and what nft says.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.h"

namespace firewall {

using config::Node;

// Of one document; `name` stands for it in the error.
std::expected<Node, std::string> parse_json(std::string_view text, const std::string& name);

// Members of an object; what is missing or of another kind is empty, false or 0.
std::string text_at(const Node& object, std::string_view key);
bool flag_at(const Node& object, std::string_view key);
std::uint64_t number_at(const Node& object, std::string_view key);
std::vector<std::string> texts_at(const Node& object, std::string_view key);
std::vector<std::uint16_t> numbers_at(const Node& object, std::string_view key);
const std::vector<Node>& items_at(const Node& object, std::string_view key);  // of an array or object

Node texts(const std::vector<std::string>& values);
Node numbers(const std::vector<std::uint16_t>& values);

}  // namespace firewall
