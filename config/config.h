// The whole configuration: one immutable, fully checked value. Loaded by load.h; every key stands in settings*.cc.
#pragma once

#include <sys/socket.h>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/bans.h"
#include "config/netmask.h"

namespace config {

using std::chrono::milliseconds;

// A socket address (IPv4, IPv6 or UNIX); of a server also a name, whose addresses are asked for whenever somebody
// connects.
struct Endpoint {
  std::string text;  // as in the config, for messages
  sockaddr_storage address{};
  socklen_t length = 0;    // 0 of a name
  std::string host{};      // of a name; else empty
  std::uint16_t port = 0;  // of a name
  bool is_name() const { return !host.empty(); }
  bool is_unix() const { return address.ss_family == AF_UNIX; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

enum class Protocol { smtp, lmtp };

enum class LineEnds { normalize, refuse };  // bare LF and bare CR in content
// A client's FIN before our answer, without QUIT: gone, or only done with sending (dialogue.md D3).
enum class HalfClose { abort, finish };
enum class Nul { refuse, pass };              // NUL in content
enum class ProxyHeader { off, v1, v2, any };  // which PROXY header each connection must begin with
// When AUTH is offered; on_tls: inside TLS, and to clients on a loopback address (dialogue.md D2).
enum class AuthOffer { on_tls, always, never };
// What a client hears when one message fared differently with its recipients (dialogue.md D6).
enum class MixedReplies { journal, single };
// How servers learn who the client is (dialogue.md D5). spoof: our connection has the client's source address.
enum class Identity { automatic, proxy_v2, proxy_v1, xclient, xforward, none, spoof };

// How the packet filter hands us connections that were meant for somebody else, and with that how the original
// destination is asked for: of connection tracking (redirect), of the socket itself (tproxy; divert: pf divert-to and
// ipfw fwd), of /dev/pf (pf_rdr).
enum class Intercept { none, redirect, tproxy, pf_rdr, divert };
// Whose mail a listener takes: that of the world for our servers, or that of our own clients for the world.
enum class Direction { incoming, outgoing };
// Which connections are intercepted, by the hook of the packet filter that sees them: to this host, through it, from it.
enum class Scope { input, forward, output };

// The client's leg. starttls: the STARTTLS command (RFC 3207); implicit: TLS from the first octet (RFC 8314); pass:
// STARTTLS is between the client and the server, and nothing behind it is read.
enum class ListenerTlsMode { none, starttls, implicit, pass };
// We are one end of it.
inline bool ends_tls(ListenerTlsMode mode) {
  return mode == ListenerTlsMode::starttls || mode == ListenerTlsMode::implicit;
}
enum class ClientCertificates { none, ask, require };
enum class TlsVersion { v1_2, v1_3 };
struct CertificatePair {
  std::string certificate;  // file: the server's own first, then the intermediate ones
  std::string key;          // file; may be the same
  std::vector<Netmask> destinations;  // original ones, whose clients get it if they ask for no name that we know
};
// Signs certificates for the servers that clients of intercepted connections mean.
struct LocalCa {
  std::optional<std::string> certificate, key;  // files, as above; both or none
  bool on() const { return certificate && key; }
};
struct ListenerTls {
  ListenerTlsMode mode = ListenerTlsMode::none;
  bool required = false;                      // nothing but EHLO, STARTTLS, NOOP and QUIT before it
  std::vector<CertificatePair> certificates;  // chosen by SNI, then by destination; the first is the default
  LocalCa local_ca;                           // in place of that default
  std::vector<Netmask> pass_sources, pass_destinations;  // whose TLS is treated as with mode pass
  ClientCertificates client_certificates = ClientCertificates::none;
  std::optional<std::string> client_ca;  // file or directory
  TlsVersion minimum = TlsVersion::v1_2;
  std::optional<std::string> ciphers, groups;  // as OpenSSL writes them
  bool session_tickets = true;
};

// The downstream leg. opportunistic: TLS where it is offered, plain text where not or where it fails; required: TLS, with
// any certificate; verified: by name and CA, or by fingerprint.
enum class DownstreamTlsMode { none, opportunistic, required, verified };
struct DownstreamTls {
  DownstreamTlsMode mode = DownstreamTlsMode::none;
  bool implicit = false;                  // from the first octet instead of STARTTLS
  std::optional<std::string> name;        // in SNI and in the certificate; otherwise the host of the server
  std::optional<std::string> ca;          // file or directory; otherwise the system's
  std::vector<std::string> fingerprints;  // SHA-256 of the certificate or of its public key; in place of name and CA
  std::optional<std::string> certificate, key;  // ours, for servers that ask
  TlsVersion minimum = TlsVersion::v1_2;
};

struct Listener {
  std::string name;
  Protocol protocol = Protocol::smtp;
  Endpoint address;
  std::string downstream;
  milliseconds command_timeout{300'000};    // from one reply of ours to the next complete command
  milliseconds data_timeout{600'000};       // whole content, first octet to final dot
  milliseconds data_idle_timeout{180'000};  // between two pieces of content
  std::uint64_t min_data_rate = 100;        // octets per second after the first 30 s; 0 = off
  milliseconds early_talker_wait{0};        // time before the banner in which the client must stay silent
  std::uint32_t max_errors = 20;            // 4yz/5yz of ours or of the downstream, then 421 4.7.0
  std::uint32_t max_junk = 100;             // NOOP, RSET, VRFY, HELP, HELO without a message between, then 421 4.7.0
  std::uint32_t max_recipients = 1000;      // per transaction, then 452 4.5.3
  std::uint32_t max_sessions = 10'000;      // at once, per listener; past it 421 4.3.2
  std::uint64_t max_message = 50u << 20;    // octets of content, then 552 5.3.4; 0 = only the downstream's limit
  LineEnds line_ends = LineEnds::normalize;
  HalfClose half_close = HalfClose::abort;
  Nul nul = Nul::refuse;
  ListenerTls tls;
  std::uint64_t max_header = 1u << 20;       // octets of the header section, then 552 5.3.4; 0 = off
  std::uint32_t max_header_fields = 1000;    // then 554 5.6.0; 0 = off
  std::uint32_t max_received = 50;           // Received fields that make a loop: 554 5.4.6
  std::uint32_t max_messages = 0;            // transactions per session, then 421 4.7.0; 0 = off
  std::uint32_t max_auth_failures = 5;       // per session, then 421 4.7.0
  std::uint32_t max_client_sessions = 0;     // at once per client network; 0 = off
  std::uint32_t max_client_connections = 0;  // new ones per client network and minute; 0 = off
  std::uint32_t max_connections = 0;         // new ones per minute; 0 = off
  std::uint32_t client_prefix_v4 = 32;       // what a client network is
  std::uint32_t client_prefix_v6 = 64;
  milliseconds handshake_timeout{60'000};  // TLS, and the PROXY header
  ProxyHeader proxy_header = ProxyHeader::off;
  std::vector<Netmask> proxy_from;     // who may send PROXY headers; with them on, nobody else may connect
  std::vector<Netmask> xclient_from;   // who may say XCLIENT
  std::vector<Netmask> xforward_from;  // who may say XFORWARD
  std::vector<Netmask> received_from;  // whose topmost Received field tells the client's address
  bool received = false;               // add a Received field of our own
  bool hide = false;                   // be as invisible as can be (dialogue.md D8)
  AuthOffer auth = AuthOffer::on_tls;
  std::vector<std::string> auth_mechanisms;   // beyond those that cannot negotiate a security layer
  std::vector<std::string> withhold;          // keywords that are never offered
  std::vector<std::string> forward_commands;  // VRFY, EXPN, HELP, ETRN that go downstream
  MixedReplies mixed_replies = MixedReplies::journal;
  Direction direction = Direction::incoming;
  Intercept intercept = Intercept::none;
  std::vector<Scope> scopes{Scope::input};
  std::vector<std::uint16_t> ports{25};     // that clients mean to reach; nothing else is ever connected to
  std::vector<std::string> interfaces;      // where they come in (output: go out); none = all but loopback
  std::vector<std::string> skip_interfaces, drop_interfaces;  // where they are left alone, and where they are dropped
  std::vector<Netmask> protected_networks;  // destinations of incoming mail; none = the addresses of this host
  std::vector<Netmask> skip_sources, skip_destinations;  // connections that are left alone
  ListenerBans bans;                                     // of their clients
};

struct Downstream {
  std::string name;
  Protocol protocol = Protocol::smtp;
  // exactly one of:
  std::vector<Endpoint> servers;    // tried in order
  std::optional<std::string> path;  // maildir; may hold %local and %domain
  bool original = false;            // the original destination of an intercepted connection
  bool create = false;              // maildir: make a missing mailbox; otherwise 550 5.1.1
  bool accept_source_loss = false;  // it need not prove that it refuses to relay (dialogue.md D5)
  milliseconds connect_timeout{10'000};   // per server
  milliseconds greeting_timeout{60'000};  // TLS, banner, our own EHLO
  milliseconds reply_timeout{100'000};    // the client's EHLO, MAIL, RCPT, RSET, DATA
  Identity identity = Identity::automatic;
  std::vector<std::string> relay_probe_recipients{"relay-probe@[192.0.2.1]", "relay-probe@example.net"};
  bool tell_tls = false;           // PROXY v2 with TLS facts: a new connection after the client's STARTTLS
  bool reuse = true;               // connections serve several sessions where that is safe (dialogue.md D4)
  milliseconds keepalive{30'000};  // NOOP while the client sends and while we scan; 0 = off
  DownstreamTls tls;
};

struct Scanner {
  std::string name;
  std::string engine = "libclamav";
  std::vector<std::string> signatures;  // files or directories
  std::uint32_t workers = 2;
  std::uint32_t queue = 256;
  std::uint64_t memory = 2048ull << 20;
  std::uint64_t max_scan_size = 400ull << 20;
  std::uint64_t max_file_size = 100ull << 20;
  std::uint32_t max_recursion = 17;
  std::uint32_t max_files = 10'000;
  bool test_hooks = false;
};

enum class Action { refuse, defer, relay };  // relay of anything but clean adds X-Gatepost-Verdict

struct Unscannable {
  Action encrypted = Action::refuse;
  Action size = Action::refuse;
  Action recursion = Action::refuse;
  Action files = Action::refuse;
  Action time = Action::defer;
  Action limit = Action::refuse;
};
struct Defaults {
  Action infected = Action::refuse;
  Action suspicious = Action::relay;
  Action error = Action::defer;  // refuse is not offered: our faults are no 5yz
  Unscannable unscannable;
};

struct Spool {
  std::string directory = "/var/spool/gatepost";
  std::uint64_t memory = 256u << 10;          // per message; above it a file
  std::uint64_t total_memory = 256ull << 20;  // all messages of all loops together
};

struct Limits {
  milliseconds answer_within{240'000};
  milliseconds relay_wait{150'000};
  milliseconds min_relay_wait{30'000};
  milliseconds scan_wait{60'000};
  milliseconds scan_limit{60'000};
  milliseconds drain{60'000};           // on TERM: how long running transactions may take
  std::uint32_t max_sessions = 20'000;  // all listeners together; past it 421 4.3.2
  std::uint32_t max_connections = 0;    // new ones per minute, all listeners together; 0 = off
  std::uint64_t memory = 0;             // of the proxy process; past it 421 4.3.2; 0 = off
};

struct Dns {
  std::vector<Endpoint> forwarders;     // literals; none = those of resolv.conf, without that file the root servers
  std::string hosts = "/etc/hosts";     // asked first; empty = no such file
  bool dnssec = false;                  // answers are validated
  std::string trust_anchor = "/usr/share/dns/root.key";
  milliseconds timeout{5'000};          // for the answer to one question
};

enum class LogFormat { text, json };
struct Log {
  LogFormat format = LogFormat::text;
  std::string to = "stderr";  // stderr | syslog | an absolute file name
};

// What becomes of new connections that the gate cannot decide about: they go by us, unscanned, or they are not served.
enum class OnFailure { closed, open };
struct Gate {
  std::uint32_t queue = 0;  // of the first listener; each of those behind it has the next one; 0 = no gate
  OnFailure on_failure = OnFailure::closed;
  std::uint32_t length = 4096;  // packets that may wait in a queue
};
struct Bans {
  bool on = false;  // clients that are banned (gatepost bans) get no connection
  std::vector<Netmask> never;
};
enum class Backend { automatic, nft, iptables, pf_openbsd, pf_freebsd, ipfw };
struct Firewall {
  Backend backend = Backend::automatic;
  bool manage = false;                  // rules come and go with the daemon
  std::string state_directory = "/run/gatepost";  // what is in force is remembered there, until the next boot
  std::uint32_t routing_table = 2525;   // for what TPROXY and spoofed sources need
  Gate gate;
  Bans bans;
};

struct Users {  // names or numbers; looked up when the config is loaded
  std::string proxy = "gatepost";
  std::string keeper = "gatepost-keeper";
  std::string scanner = "gatepost-scanner";
  std::string gate = "gatepost-gate";  // looked up only when there is a gate
};
struct Account {
  std::uint32_t uid = 0, gid = 0;
};

struct Config {
  std::string hostname;     // default: gethostname()
  std::uint32_t loops = 0;  // proxy threads; 0 = one per processor
  std::string state_directory = "/var/lib/gatepost";
  std::vector<Listener> listeners;
  std::map<std::string, Downstream> downstreams;
  std::vector<Scanner> scanners;  // file order; at most one so far
  Defaults defaults;
  Spool spool;
  Limits limits;
  Dns dns;
  Log log;
  Firewall firewall;
  Users users;
  Account proxy_account, keeper_account, scanner_account, gate_account;  // from users; not root: our own
  const Downstream& downstream_of(const Listener& listener) const { return downstreams.at(listener.downstream); }
};

}  // namespace config
