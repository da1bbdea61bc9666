// How the files settings*.cc write rows and sections of the table: a key is bound to a member by its pointer. For them
// alone.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.h"

namespace config {

// The sections with files of their own.
Section listener_settings();    // settings_listeners.cc
Section downstream_settings();  // settings_downstreams.cc
Section firewall_settings();    // settings_interception.cc
Section gate_settings();        // settings_gate.cc
Section bans_settings();           // settings_bans.cc
Section listener_bans_settings();  // settings_bans.cc
std::vector<Setting> interception_settings();  // of a listener; settings_interception.cc
Section listener_tls_settings();    // settings_tls.cc
Section downstream_tls_settings();  // settings_tls.cc

namespace rows {

using namespace std::chrono_literals;

template <class>
struct MemberPointer;
template <class Struct, class Type>
struct MemberPointer<Type Struct::*> {
  using Owner = Struct;
  using Value = Type;
};
template <auto member>
using OwnerOf = typename MemberPointer<decltype(member)>::Owner;
template <auto member>
using ValueOf = typename MemberPointer<decltype(member)>::Value;

template <auto member>
Setting key(std::string_view name, Bounds bounds, std::string_view sentence) {
  const auto slot = [](void* owner) -> Slot { return &(static_cast<OwnerOf<member>*>(owner)->*member); };
  return {name, slot, std::move(bounds), sentence};
}

template <class Struct>
void call_with_fresh(const std::function<void(void*)>& call) {
  Struct fresh;
  call(&fresh);
}

template <auto member>
Section object(std::string_view name, std::string_view sentence, std::vector<Setting> settings,
               std::vector<Section> sections = {}) {
  const auto at = [](void* parent) { return &(static_cast<OwnerOf<member>*>(parent)->*member); };
  return {.key = name,
          .nesting = Nesting::object,
          .sentence = sentence,
          .settings = std::move(settings),
          .sections = std::move(sections),
          .open = [at](void* parent, const std::string&) { return at(parent); },
          .each = [at](void* parent, const auto& call) { call("", at(parent)); },
          .with_defaults = call_with_fresh<ValueOf<member>>};
}

// Of a vector, in file order; `named`: an object whose keys become the structs' `name`.
template <auto member>
Section sequence(std::string_view name, bool named, std::string_view sentence, std::vector<Setting> settings,
                 std::vector<Section> sections = {}) {
  const auto at = [](void* parent) { return &(static_cast<OwnerOf<member>*>(parent)->*member); };
  return {.key = name,
          .nesting = named ? Nesting::by_name : Nesting::list,
          .sentence = sentence,
          .settings = std::move(settings),
          .sections = std::move(sections),
          .open =
              [at, named](void* parent, const std::string& entry) {
                auto* added = &at(parent)->emplace_back();
                if constexpr (requires { added->name; }) {
                  if (named) added->name = entry;
                } else {
                  static_cast<void>(named);
                }
                return added;
              },
          .each =
              [at](void* parent, const auto& call) {
                for (auto& entry : *at(parent)) {
                  if constexpr (requires { entry.name; }) call(entry.name, &entry);
                  else call("", &entry);
                }
              },
          .with_defaults = call_with_fresh<typename ValueOf<member>::value_type>};
}

template <auto member>
Section mapping(std::string_view name, std::string_view sentence, std::vector<Setting> settings,
                std::vector<Section> sections = {}) {
  const auto at = [](void* parent) { return &(static_cast<OwnerOf<member>*>(parent)->*member); };
  return {.key = name,
          .nesting = Nesting::by_name,
          .sentence = sentence,
          .settings = std::move(settings),
          .sections = std::move(sections),
          .open =
              [at](void* parent, const std::string& entry) {
                auto* added = &(*at(parent))[entry];
                added->name = entry;
                return added;
              },
          .each =
              [at](void* parent, const auto& call) {
                for (auto& [entry, value] : *at(parent)) call(entry, &value);
              },
          .with_defaults = call_with_fresh<typename ValueOf<member>::mapped_type>};
}

inline Bounds between(std::uint64_t least, std::uint64_t most) { return {.least = least, .most = most}; }
inline Bounds between(milliseconds least, milliseconds most) {
  return {.least = static_cast<std::uint64_t>(least.count()), .most = static_cast<std::uint64_t>(most.count())};
}
inline Bounds literals(std::uint64_t least_port, std::uint64_t most_port) {
  return {.least = least_port, .most = most_port, .literal = true};
}
inline Bounds as(const TextShape& shape) { return {.shape = &shape}; }
inline Bounds one_of(std::vector<std::string_view> words) { return {.words = std::move(words)}; }
inline Bounds needed(Bounds bounds = {}) {
  bounds.required = true;
  return bounds;
}
inline Bounds computed(std::string_view what, Bounds bounds) {
  bounds.computed = what;
  return bounds;
}

inline constexpr std::uint64_t kib = 1U << 10U, mib = 1U << 20U, gib = 1U << 30U;

}  // namespace rows
}  // namespace config
