#include "proxy/io/dns_answer.h"

#include <arpa/nameser.h>
#include <fmt/format.h>
#include <resolv.h>

#include <algorithm>
#include <limits>

namespace io {
namespace {

constexpr std::size_t longest_label = 63, longest_name = 253;  // RFC 1035 2.3.4: 255 octets on the wire

bool is_label(std::string_view label) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '/';
  };
  return !label.empty() && label.size() <= longest_label && std::ranges::all_of(label, fits);
}

// The rdata of one record and the message around it, for compressed names.
struct Octets {
  const ns_msg& message;
  std::span<const std::uint8_t> rdata;

  // The name that begins at `at` and is all of the rest.
  std::optional<std::string> name(std::size_t at) const {
    char text[NS_MAXDNAME];
    if (at >= rdata.size()) return std::nullopt;
    const int size = ::dn_expand(ns_msg_base(message), ns_msg_end(message), &rdata[at], text, sizeof text);
    if (size < 0 || at + static_cast<std::size_t>(size) != rdata.size()) return std::nullopt;
    return text;
  }
  std::string from(std::size_t at) const { return {rdata.begin() + static_cast<std::ptrdiff_t>(at), rdata.end()}; }
};

std::optional<Record> address(const Octets& octets, int family, std::size_t size) {
  if (octets.rdata.size() != size) return std::nullopt;
  AddressRecord record;
  record.family = family;
  std::ranges::copy(octets.rdata, record.octets.begin());
  return record;
}

std::optional<Record> mx(const Octets& octets) {
  const auto exchange = octets.name(2);
  if (!exchange) return std::nullopt;
  return MxRecord{static_cast<std::uint16_t>(octets.rdata[0] << 8U | octets.rdata[1]), *exchange};
}

std::optional<Record> ptr(const Octets& octets) {
  const auto name = octets.name(0);
  if (!name) return std::nullopt;
  return PtrRecord{*name};
}

// RFC 1035 3.3.14: strings of a length octet and that many octets.
std::optional<Record> txt(const Octets& octets) {
  TxtRecord record;
  for (std::size_t at = 0; at < octets.rdata.size(); at += octets.rdata[at] + 1U) {
    if (at + 1 + octets.rdata[at] > octets.rdata.size()) return std::nullopt;
    const auto string = octets.rdata.subspan(at + 1, octets.rdata[at]);
    record.text.append(string.begin(), string.end());
  }
  return record;
}

std::optional<Record> tlsa(const Octets& octets) {
  if (octets.rdata.size() < 3) return std::nullopt;
  return TlsaRecord{octets.rdata[0], octets.rdata[1], octets.rdata[2], octets.from(3)};
}

std::optional<Record> record(const Octets& octets, RecordType type) {
  switch (type) {
    case RecordType::a:
      return address(octets, AF_INET, 4);
    case RecordType::aaaa:
      return address(octets, AF_INET6, 16);
    case RecordType::mx:
      return mx(octets);
    case RecordType::ptr:
      return ptr(octets);
    case RecordType::txt:
      return txt(octets);
    case RecordType::tlsa:
      return tlsa(octets);
  }
  return std::nullopt;
}

Lookup malformed() { return not_found(NotFound::Why::failed, "a malformed answer"); }

// How long a denial holds: the SOA record beside it says (RFC 2308 5).
std::chrono::seconds denial_ttl(ns_msg& message) {
  ns_rr rr;
  for (int i = 0; i < ns_msg_count(message, ns_s_ns); ++i)
    if (::ns_parserr(&message, ns_s_ns, i, &rr) == 0 && ns_rr_type(rr) == ns_t_soa)
      return std::chrono::seconds(ns_rr_ttl(rr));
  return {};
}

}  // namespace

bool is_domain_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > longest_name) return false;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    if (!is_label(name.substr(at, dot - at))) return false;
    at = dot + 1;
  }
  return true;
}

std::string rcode_text(int code) {
  switch (code) {
    case ns_r_formerr:
      return "format error (FORMERR)";
    case ns_r_servfail:
      return "server failure (SERVFAIL)";
    case ns_r_nxdomain:
      return "no such name";
    case ns_r_notimpl:
      return "not implemented (NOTIMP)";
    case ns_r_refused:
      return "refused (REFUSED)";
    default:
      return fmt::format("response code {}", code);
  }
}

Lookup parse_answer(std::span<const std::uint8_t> packet, RecordType type, bool secure) {
  ns_msg message;
  constexpr std::size_t largest = std::numeric_limits<std::uint16_t>::max();
  if (packet.size() > largest || ::ns_initparse(packet.data(), static_cast<int>(packet.size()), &message) != 0)
    return malformed();
  const int code = ns_msg_getflag(message, ns_f_rcode);
  if (code == ns_r_nxdomain)
    return not_found(NotFound::Why::no_such_name, rcode_text(code), denial_ttl(message), secure);
  if (code != ns_r_noerror) return not_found(NotFound::Why::failed, rcode_text(code));
  if (ns_msg_getflag(message, ns_f_tc) != 0) return malformed();  // what is cut is not known
  Found found;
  found.secure = secure;
  std::uint32_t ttl = std::numeric_limits<std::int32_t>::max();  // RFC 2181 8
  ns_rr rr;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    if (::ns_parserr(&message, ns_s_an, i, &rr) != 0) return malformed();
    if (ns_rr_class(rr) != ns_c_in) continue;
    ttl = std::min(ttl, static_cast<std::uint32_t>(ns_rr_ttl(rr)));
    if (ns_rr_type(rr) != static_cast<std::uint16_t>(type)) continue;  // CNAME, DNAME, RRSIG
    auto one = record({message, {ns_rr_rdata(rr), std::size_t{rr.rdlength}}}, type);
    if (!one) return malformed();
    found.records.push_back(std::move(*one));
    found.name = ns_rr_name(rr);
  }
  if (found.records.empty())
    return not_found(NotFound::Why::no_data, fmt::format("no {} record", to_string(type)), denial_ttl(message), secure);
  found.ttl = std::chrono::seconds(ttl);
  return found;
}

}  // namespace io
