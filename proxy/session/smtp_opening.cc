// The beginning of a downstream connection (dialogue.md D1): connect, TLS, banner, our own EHLO; and its end, where
// another session may go on with it (D4).
#include <algorithm>
#include <iterator>
#include <utility>

#include "config/endpoint.h"
#include "proxy/io/tls_contexts.h"
#include "proxy/io/tls_stream.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::Task;
using protocol::Reply;
using protocol::Verb;
namespace reply = protocol::reply;

namespace {

constexpr std::string_view line_end = "\r\n";

Reply not_available() {
  return reply::make(421, "4.4.1", "Service not available, the mail server behind does not answer");
}
Reply not_safe() {
  return reply::make(421, "4.7.5", "Service not available, no secure connection to the mail server behind");
}

}  // namespace

bool SmtpDownstream::may_share() const {
  return services_.pool != nullptr && settings_.reuse && !settings_.original && !listener_.hide && !scope_.draining() &&
         !is_of_one_client(configured_channel()) && !passes_tls(listener_, client_);
}

// Of the server that address_ names.
const Standing* SmtpDownstream::known_standing() const {
  return services_.identities == nullptr ? nullptr : services_.identities->known(settings_, address_, is_exempt());
}

// Sessions of this listener may go on with it: what "auto" has come to tells nothing, and the server relays for nobody.
bool SmtpDownstream::may_go_on_with(const IdleConnection& idle) {
  address_ = idle.address;
  host_ = idle.host;
  channel_ = configured_channel();
  if (channel_ != Channel::undecided && !is_examined()) return true;
  const Standing* const known = known_standing();
  if (known != nullptr) channel_ = known->channel;
  return known != nullptr && known->reached && !known->relays &&
         (channel_ == Channel::none || channel_ == Channel::xforward);
}

Task<Reply> SmtpDownstream::open() {
  std::optional<IdleConnection> idle;
  if (may_share()) idle = services_.pool->take(settings_);
  if (!idle || !may_go_on_with(*idle)) {
    Reply banner = co_await connect_anew();
    co_return banner;
  }
  stream_ = std::move(idle->stream);
  tls_ = std::move(idle->tls);
  life_ = idle->life;
  greeted_by_ = std::move(idle->greeted_by);
  capabilities_ = std::move(idle->capabilities);
  unproven_ = true;
  mail_asked_ = false;
  parser_ = protocol::ReplyParser();
  last_sent_ = scope_.now();
  co_return Reply(220, std::nullopt, services_.config->hostname);
}

Task<Reply> SmtpDownstream::connect_anew(bool plain_if_allowed) {
  const io::TimePoint until = std::min(bound_, scope_.now() + settings_.greeting_timeout);
  const bool may_fall_back = settings_.tls.mode == config::DownstreamTlsMode::opportunistic;
  const bool is_clients = passes_tls(listener_, client_);  // the TLS of this connection is between client and server
  const bool plain = is_clients || (plain_if_allowed && may_fall_back);
  const bool needed = settings_.tls.mode != config::DownstreamTlsMode::none && !may_fall_back && !is_clients;
  const auto context = services_.tls && !plain ? services_.tls->downstream(settings_.name) : nullptr;
  if (needed && !context) {
    lost_why_ = "TLS is required, and there is no certificate store to begin it with";
    co_return not_safe();
  }
  Reply banner = co_await begin(context, until);
  if (!stream_ && tls_failed_ && may_fall_back) {
    note_fall_back();
    banner = co_await begin(nullptr, until);
  }
  if (!stream_ || !banner.positive()) co_return banner;
  const std::optional<Reply> refusal = co_await settle_greeting(banner, until);
  co_return refusal ? *refusal : banner;
}

// To where the config says, or where the client meant to go; there as ourselves or as the client.
Task<io::Connected> SmtpDownstream::connect(io::TimePoint until) {
  const std::shared_ptr<const Intercepted> meant = settings_.original ? client_.intercepted : nullptr;
  if (settings_.original && !meant) co_return std::unexpected(io::ConnectError("nobody knows where the client meant to go"));
  const std::vector<config::Endpoint> servers = meant ? std::vector(1, meant->destination) : settings_.servers;
  std::optional<config::Endpoint> client;
  if (configured_channel() == Channel::spoof) {
    client = config::parse_address(client_.address);
    if (!client) co_return std::unexpected(io::ConnectError("the client has no address that could be taken"));
  }
  io::Task<io::Connected> connecting =
      client ? services_.connector->connect_as(client->address, servers, scope_, settings_.connect_timeout, until)
             : services_.connector->connect(servers, scope_, settings_.connect_timeout, until);
  io::Connected connected = co_await std::move(connecting);
  co_return connected;
}

// One connection up to where the client's own EHLO may follow. Without `context` it stays in plain text.
Task<Reply> SmtpDownstream::begin(std::shared_ptr<const io::TlsClientContext> context, io::TimePoint until) {
  life_ = ConnectionLife();
  unproven_ = false;
  clean_ = true;
  tls_failed_ = false;
  greeted_for_us_ = false;
  greeted_by_.clear();
  tls_.reset();
  sent_.clear();
  io::Connected connected = co_await connect(until);
  if (!connected) {
    lost_why_ = connected.error().text;
    co_return not_available();
  }
  stream_ = std::move(connected->stream);
  address_ = stream_->peer();
  host_ = connected->host;
  parser_ = protocol::ReplyParser();
  last_sent_ = scope_.now();
  std::optional<Reply> refusal = co_await settle_channel(until);
  if (refusal) co_return std::move(*refusal);
  if (is_proxy(channel_)) {
    const bool sent = co_await send_proxy_header(until);
    if (!sent) co_return not_available();
  }
  if (context && settings_.tls.implicit) {
    const bool secured = co_await secure(context, host_, until);
    if (!secured) co_return not_safe();
  }
  Reply banner = co_await read_banner(until);
  if (!stream_ || !context || settings_.tls.implicit) co_return banner;
  const bool secured = co_await start_tls(context, host_, until);
  if (!secured) co_return not_safe();
  co_return banner;
}

Task<Reply> SmtpDownstream::read_banner(io::TimePoint until) {
  std::optional<Reply> banner = co_await read_reply(until);
  if (!banner) co_return not_available();
  if (banner->intermediate() || !unread_.empty()) {
    lose("does not begin with a banner");
    co_return not_available();
  }
  if (!banner->positive()) lose("refused us: " + to_text(*banner));
  life_.patient = is_lmtp() || banner->lines().front().find("Postfix") != std::string::npos;
  co_return std::move(*banner);
}

// One command of our own, outside of any group.
Task<std::optional<Reply>> SmtpDownstream::converse(std::string command, io::TimePoint until) {
  command += "\r\n";
  const io::IoStatus sent = co_await write_all(*stream_, scope_, until, command);
  if (sent != io::IoStatus::ok) {
    lose("does not read");
    co_return std::nullopt;
  }
  std::optional<Reply> answered = co_await read_reply(until);
  co_return answered;
}

// The same; a server that ends the session or answers out of turn is lost.
Task<std::optional<Reply>> SmtpDownstream::exchange(std::string command, io::TimePoint until) {
  std::optional<Reply> answered = co_await converse(command, until);
  if (answered && (answered->code() == 421 || answered->intermediate())) {
    lose("answered " + command.substr(0, 4) + " with " + to_text(*answered));
    co_return std::nullopt;
  }
  co_return answered;
}

// What the server offers to us, not to the client; nothing if it does not greet us.
Task<std::optional<protocol::Capabilities>> SmtpDownstream::greet_as_ourselves(io::TimePoint until) {
  life_.greet();
  const std::optional<Reply> greeted = co_await exchange((is_lmtp() ? "LHLO " : "EHLO ") + services_.config->hostname, until);
  if (!greeted) co_return std::nullopt;
  greeted_for_us_ = greeted->positive();
  if (!greeted->positive()) co_return protocol::Capabilities();
  co_return parse_capabilities(*greeted);
}

// STARTTLS (RFC 3207): true when the connection may be used. Everything learnt before is forgotten (T:B2).
Task<bool> SmtpDownstream::start_tls(std::shared_ptr<const io::TlsClientContext> context, const std::string& host,
                                     io::TimePoint until) {
  const std::optional<protocol::Capabilities> offered = co_await greet_as_ourselves(until);
  if (!offered) co_return false;
  const bool needed = settings_.tls.mode != config::DownstreamTlsMode::opportunistic;
  if (!offered->starttls) {
    if (needed) lose("offers no STARTTLS");
    co_return !needed;
  }
  const std::optional<Reply> ready = co_await exchange("STARTTLS", until);
  if (!ready) co_return false;
  if (!ready->positive()) {
    if (needed) lose("refused STARTTLS: " + to_text(*ready));
    co_return !needed;
  }
  if (!unread_.empty()) {
    lose("spoke between STARTTLS and the handshake");
    co_return false;
  }
  const bool secured = co_await secure(context, host, until);
  co_return secured;
}

Task<bool> SmtpDownstream::secure(std::shared_ptr<const io::TlsClientContext> context, const std::string& host,
                                  io::TimePoint until) {
  auto stream = std::make_unique<io::TlsStream>(std::move(stream_), std::move(context), host);
  io::TlsStream& tls = *stream;
  stream_ = std::move(stream);
  // A server that falls silent in the handshake leaves time for plain text.
  const bool may_fall_back = settings_.tls.mode == config::DownstreamTlsMode::opportunistic;
  const io::TimePoint patience = may_fall_back ? scope_.now() + (until - scope_.now()) / 2 : until;
  io::TlsStream::Handshake shaken = co_await tls.handshake(scope_, patience);
  if (!shaken) {
    tls_failed_ = true;
    lose("TLS failed: " + shaken.error().text);
    co_return false;
  }
  tls_ = std::make_shared<const io::TlsFacts>(std::move(*shaken));
  greeted_for_us_ = false;
  life_.greetings = 0;
  parser_ = protocol::ReplyParser();
  co_return true;
}

void SmtpDownstream::note_fall_back() {
  admin::Record record(services_.config->log.format, admin::Level::warning, "-");
  record.text("event", "tls_fall_back").text("downstream", settings_.name).quoted("detail", lost_why_);
  services_.log(admin::Level::warning, std::move(record));
}

Task<Reply> SmtpDownstream::hello(Verb verb, std::string name) {
  const Verb former_verb = std::exchange(hello_verb_, verb);
  std::string former_name = std::exchange(hello_name_, std::move(name));
  greeting_ = true;
  Reply answered = co_await greet();
  greeting_ = false;
  if (answered.positive()) co_return answered;
  hello_verb_ = former_verb;
  hello_name_ = std::move(former_name);
  co_return answered;
}

// On a new connection: the server takes one EHLO only (OpenSMTPD does) and had ours, or that of the session before; or it has
// had enough of the sessions before.
Task<Reply> SmtpDownstream::greet_anew(std::string command, Reply refused) {
  const bool one_only = refused.code() == 503;
  // Where TLS is opportunistic it was not to be had, and to ask again takes an EHLO of ours. What that told is known.
  const bool in_vain = one_only && !tls_;
  const char* const why = one_only ? "takes no second EHLO" : "takes no further session";
  lose(why);
  Reply answered = co_await connect_anew(in_vain);
  if (one_only && greeted_for_us_ && stream_) {  // what ours told had been doubted, and had to be asked for once more
    lose(why);
    answered = co_await connect_anew(in_vain);
  }
  if (!answered.positive()) co_return answered;
  if (one_only && greeted_for_us_) co_return refused;
  std::optional<Reply> refusal = co_await introduce();
  if (refusal) co_return std::move(*refusal);
  ask(command);
  answered = co_await answer();
  co_return answered;
}

// With the client's verb and name, behind the introduction that it needs once.
Task<Reply> SmtpDownstream::greet() {
  std::optional<Reply> refusal = co_await introduce();
  if (refusal) co_return std::move(*refusal);
  const Verb verb = is_lmtp() ? Verb::lhlo : hello_verb_ == Verb::lhlo ? Verb::ehlo : hello_verb_;
  const std::string command = std::string(to_string(verb)) + " " + hello_name_;
  // Nobody else could be meant: the session before had this name, too (D4).
  const bool known = unproven_ && stream_ && channel_ == Channel::none && greeted_by_ == command;
  if (known) co_return Reply(250, std::nullopt, host_);
  ask(command);
  Reply answered = co_await answer();
  const bool one_only = answered.code() == 503 && !authenticated_;
  const bool worn_out = unproven_ && !answered.positive();
  if (stream_ && (one_only || worn_out)) answered = co_await greet_anew(command, std::move(answered));
  if (!answered.positive()) life_.tainted = true;
  if (answered.positive())
    capabilities_ = verb == Verb::helo ? protocol::Capabilities() : parse_capabilities(answered);
  greeted_by_ = answered.positive() ? command : std::string();
  Reply judged = co_await judge_hello(std::move(answered));
  co_return judged;
}

// A connection that another session had used is closed by its server: nobody needs to notice, nothing was done yet.
Task<bool> SmtpDownstream::replace_unproven() {
  asked_.insert(asked_.begin(), std::make_move_iterator(sent_.begin()), std::make_move_iterator(sent_.end()));
  sent_.clear();
  outstanding_ = 0;
  unproven_ = false;
  drop();
  bool alive = co_await revive();
  if (alive) co_await forward_again();
  forwarded_.clear();
  alive = alive && stream_;
  if (alive) co_await send_asked();
  else outstanding_ += std::exchange(asked_, {}).size();
  co_return alive;
}

// The server may refuse it, as it may the one in front of each MAIL.
Task<> SmtpDownstream::forward_again() {
  for (std::string& command : std::exchange(forwarded_, {})) {
    command.resize(command.size() - line_end.size());
    const std::optional<Reply> answered = co_await exchange(std::move(command), reply_deadline());
    if (!answered) co_return;
  }
}

// Whether the server may have a MAILMAX. HELO is not told of it: there it is what is known of the server that counts.
bool SmtpDownstream::counts_sessions_mail() const {
  if (!greeted_by_.starts_with("HELO ")) return capabilities_.mail_max != 0;
  const Standing* const known = known_standing();
  return known == nullptr || !known->reached || known->offered.mail_max != 0;
}

// The next client is told MAILMAX as if all of it were his (RFC 9422).
bool SmtpDownstream::may_serve_again() const {
  return life_.may_serve_again() && (life_.transactions == 0 || !counts_sessions_mail());
}

Task<bool> SmtpDownstream::release() {
  if (!may_share() || is_of_one_client(channel_) || !may_serve_again() || outstanding_ != 0 || !asked_.empty())
    co_return false;
  const io::TimePoint until = scope_.now() + farewell_patience;
  if (!clean_ && unheeded_ == 0) forget_transaction();
  const bool heeded = co_await swallow(until);
  // Half a reply in the parser is a surplus one, too.
  if (!heeded || !clean_ || parser_.in_progress() || !may_serve_again()) co_return false;
  IdleConnection idle(std::move(stream_), address_, life_, tls_, host_, greeted_by_, capabilities_);
  services_.pool->keep(settings_, std::move(idle));
  co_return true;
}

}  // namespace session
