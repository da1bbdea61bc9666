#include "config/problems.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "config/quote.h"

namespace config {
namespace {

constexpr std::size_t shown_errors = 1000;

}  // namespace

std::string to_text(const Error& error) {
  std::string out = error.file;
  if (error.line > 0) out += fmt::format(":{}:{}", error.line, error.column);
  if (!error.pointer.empty()) out += ": " + visible(error.pointer, 200);
  return out + ": " + error.text;
}

std::string escape_pointer(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') out += "~0";
    else if (c == '/') out += "~1";
    else out += c;
  }
  return out;
}

Path Path::member(std::string_view key) const {
  const std::string step = "/" + escape_pointer(key);
  return {merged + step, own + step};
}

Path Path::element(std::size_t merged_index, std::size_t own_index) const {
  return {merged + "/" + std::to_string(merged_index), own + "/" + std::to_string(own_index)};
}

void Problems::error(const Place& place, const std::string& own, std::string text) {
  keep({place, own}, std::move(text));
}

void Problems::error(const std::string& merged, std::string text) {
  failed_.insert(merged);
  keep(spot_of(merged), std::move(text));
}

void Problems::warning(const std::string& merged, std::string text) {
  warnings_.push_back(to_text(make(spot_of(merged), std::move(text))));
}

bool Problems::failed(const std::string& merged) const {
  const auto at = failed_.lower_bound(merged);
  if (at != failed_.end() && *at == merged) return true;
  const auto below = failed_.lower_bound(merged + "/");
  return below != failed_.end() && below->starts_with(merged + "/");
}

std::string Problems::where(const Place& place) const {
  return fmt::format("{}:{}:{}", files_.at(place.file), place.line, place.column);
}

std::vector<Error> Problems::errors() const {
  std::vector<Found> sorted = found_;
  // Without a position: last of its file.
  const auto key = [](const Found& f) {
    return std::tuple(f.place.file, f.place.line == 0, f.place.line, f.place.column);
  };
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Found& a, const Found& b) { return key(a) < key(b); });
  std::vector<Error> out;
  for (Found& found : sorted) out.push_back(std::move(found.error));
  if (count_ > found_.size())
    out.push_back({files_.at(0), 0, 0, "", fmt::format("{} further errors", count_ - found_.size())});
  return out;
}

Problems::Spot Problems::spot_of(const std::string& merged) const {
  std::string known = merged;
  while (!known.empty() && !spots_.contains(known)) known.resize(known.rfind('/'));
  const auto at = spots_.find(known);
  if (at == spots_.end()) return {{}, merged};
  return {at->second.place, at->second.own + merged.substr(known.size())};
}

Error Problems::make(const Spot& spot, std::string text) const {
  return {files_.at(spot.place.file), spot.place.line, spot.place.column, spot.own, std::move(text)};
}

void Problems::keep(const Spot& spot, std::string text) {
  ++count_;
  if (found_.size() < shown_errors) found_.push_back({spot.place, make(spot, std::move(text))});
}

}  // namespace config
