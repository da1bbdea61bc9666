// The downstream connection and the client's identity (dialogue.md D1, D5): whom it is told of, by which channel, and
// that it never goes on as us where it should know somebody else (T:H1, H2).
#include <algorithm>
#include <iterator>

#include "config/endpoint.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::Task;
using protocol::IdentityVerb;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

constexpr std::string_view quit = "QUIT\r\n";

Reply not_examined() {
  return reply::make(421, "4.4.1", "Service not available, the mail server behind could not be examined");
}

// Behind XCLIENT the server begins anew with its banner to that client (XCLIENT_README), or refuses him as it would have
// at the connect: too many connections, a blocked address. Its other refusals are of XCLIENT itself, or of us.
bool is_about_the_client(const Reply& answered) {
  constexpr int not_taken[] = {500, 501, 502, 503, 504, 550};
  return (answered.transient() || answered.permanent()) && std::ranges::find(not_taken, answered.code()) == std::end(not_taken);
}

}  // namespace

// The address that we are connected to; nothing where it is none that can be written down.
std::optional<Server> SmtpDownstream::server() const {
  const auto endpoint = config::parse_address(address_);
  if (!endpoint) return std::nullopt;
  Server which(settings_, listener_, *endpoint, host_);
  which.exempt = is_exempt();
  return which;
}

bool SmtpDownstream::is_examined() const {
  const bool strangers = are_strangers(settings_, listener_, client_.intercepted.get());
  if (strangers || configured_channel() == Channel::spoof) return false;
  return services_.identities != nullptr && !is_lmtp() && settings_.identity != config::Identity::xclient &&
         !is_exempt();
}

// Before the first octet. A reply: no session by this connection.
Task<std::optional<Reply>> SmtpDownstream::settle_channel(io::TimePoint until) {
  channel_ = configured_channel();
  introduced_ = false;
  xclient_offer_.clear();
  const std::optional<Server> which = server();
  if (services_.identities == nullptr || !which) {
    if (channel_ == Channel::undecided) channel_ = Channel::none;
    co_return std::nullopt;
  }
  if (is_examined()) {
    const Standing standing = co_await services_.identities->standing(services_, *which, scope_, until);
    co_return heed_standing(*which, standing);
  }
  const Standing* const known = services_.identities->known(*which);
  if (channel_ == Channel::undecided && known != nullptr) channel_ = known->channel;
  co_return std::nullopt;
}

std::optional<Reply> SmtpDownstream::heed_standing(const Server& which, const Standing& standing) {
  if (!standing.reached) {
    lose(which.endpoint.text + " could not be examined: " + standing.evidence);
    return not_examined();
  }
  if (standing.relays) return refuse_client("would relay for everybody: " + standing.evidence);
  channel_ = standing.channel;
  return std::nullopt;
}

Reply SmtpDownstream::refuse_client(std::string why) {
  lose(std::move(why));
  return reply::make(421, "4.3.5", "Service not available, the mail server behind is not set up for it");
}

Task<bool> SmtpDownstream::send_proxy_header(io::TimePoint until) {
  const auto version = channel_ == Channel::proxy_v1 ? protocol::ProxyVersion::v1 : protocol::ProxyVersion::v2;
  const std::string header = format(proxy_header_of(client_), version);
  const io::IoStatus sent = co_await write_all(*stream_, scope_, until, header);
  if (sent != io::IoStatus::ok) lose("does not read");
  co_return sent == io::IoStatus::ok;
}

// Behind the banner and our own TLS with the server.
Task<std::optional<Reply>> SmtpDownstream::settle_greeting(const Reply& banner, io::TimePoint until) {
  if (channel_ == Channel::undecided || channel_ == Channel::xclient) {
    std::optional<Reply> refusal = co_await settle_offer(until);
    co_return refusal;
  }
  if (!is_examined() || is_proxy(channel_)) co_return std::nullopt;
  const std::optional<Server> which = server();
  const Standing* const known = which ? services_.identities->known(*which) : nullptr;
  if (known != nullptr && known->banner == mark_of_banner(banner)) co_return std::nullopt;
  std::optional<Reply> refusal = co_await examine_again(until);
  co_return refusal;
}

// Our own EHLO: does it take XCLIENT from us?
Task<std::optional<Reply>> SmtpDownstream::settle_offer(io::TimePoint until) {
  const auto offered = co_await greet_as_ourselves(until);
  if (!offered) co_return not_examined();
  const bool has_it = tells_address(offered->xclient);
  const std::optional<Server> which = server();
  if (channel_ == Channel::undecided) {
    channel_ = has_it ? Channel::xclient : Channel::none;
    Standing learnt;
    learnt.channel = channel_;
    learnt.offered = *offered;
    if (which) services_.identities->learn(services_, *which, std::move(learnt));
  } else if (!has_it && is_lmtp()) {
    channel_ = Channel::none;  // it delivers to local mailboxes only
  } else if (!has_it) {
    if (which && services_.identities != nullptr) {
      services_.identities->doubt(*which);
      if (services_.identities->may_complain(*which)) complain(no_xclient_sentence(*which));
    }
    co_return refuse_client("does not offer XCLIENT to us");
  }
  xclient_offer_ = offered->xclient;
  co_return std::nullopt;
}

void SmtpDownstream::complain(const std::string& sentence) {
  admin::Record record(services_.config->log.format, admin::Level::error, "");
  record.message(sentence);
  services_.log(admin::Level::error, std::move(record));
}

// The server is not the one that was examined: this session waits for what the next ones will know.
Task<std::optional<Reply>> SmtpDownstream::examine_again(io::TimePoint until) {
  const std::optional<Server> which = server();
  if (!which) co_return std::nullopt;
  const Channel in_use = channel_;
  services_.identities->doubt(*which);
  const Standing standing = co_await services_.identities->standing(services_, *which, scope_, until);
  std::optional<Reply> refusal = heed_standing(*which, standing);
  if (!refusal && channel_ != in_use) refusal = refuse_client("is to be told by another channel now");
  co_return refusal;
}

// XCLIENT, once on a connection and before the client's own greeting. A reply: no session by this connection.
Task<std::optional<Reply>> SmtpDownstream::introduce() {
  if (channel_ != Channel::xclient || introduced_ || !stream_) co_return std::nullopt;
  const bool esmtp = hello_verb_ != protocol::Verb::helo;
  const auto identity = xclient_of(client_, hello_name_, esmtp);
  const std::vector<std::string> commands = format(IdentityVerb::xclient, identity, xclient_offer_);
  for (const std::string& command : commands) {
    std::optional<Reply> answered = co_await converse(command, reply_deadline());
    if (answered && !answered->positive()) lose("refused XCLIENT: " + to_text(*answered));
    if (answered && stream_ && !unread_.empty()) lose("sent more replies than it was asked for");
    if (stream_) continue;
    if (answered && is_about_the_client(*answered)) co_return answered;
    const std::optional<Server> which = server();
    const bool heard = which && services_.identities != nullptr && services_.identities->may_complain(*which);
    if (heard)
      complain("clients of downstream " + settings_.name + " are turned away with 421: " + address_ + ' ' + lost_why_);
    co_return refuse_client(lost_why_);
  }
  introduced_ = true;
  greeted_for_us_ = false;
  co_return std::nullopt;
}

// What the reply to the client's HELO or EHLO says about the channel.
Task<Reply> SmtpDownstream::judge_hello(Reply answered) {
  const int code = answered.code();
  if (is_proxy(channel_) && !answered.positive() && (code == 500 || code == 502 || code == 503))
    co_return refuse_client("takes the PROXY header for a command: " + to_text(answered));
  const bool comparable = answered.positive() && hello_verb_ != protocol::Verb::helo && channel_ == Channel::none;
  const std::optional<Server> which = comparable && services_.identities != nullptr ? server() : std::nullopt;
  if (!which) co_return answered;
  const Standing* const known = services_.identities->known(*which);
  if (known == nullptr || same_offer(known->offered, capabilities_)) co_return answered;
  if (!is_examined()) {
    services_.identities->doubt(*which);
    co_return answered;
  }
  std::optional<Reply> refusal = co_await examine_again(reply_deadline());
  if (refusal) co_return std::move(*refusal);
  co_return answered;
}

void SmtpDownstream::ask_xforward() {
  for (std::string& command : format(IdentityVerb::xforward, xforward_of(client_), capabilities_.xforward))
    ask(std::move(command), true);
}

void SmtpDownstream::client_changed(ClientChange change) {
  // Whoever it is now: what another one said there, AUTH above all, is not his.
  const bool another = change == ClientChange::told && (is_proxy(channel_) || !hello_name_.empty());
  const bool tells_tls = change == ClientChange::secured && settings_.tell_tls && channel_ == Channel::proxy_v2;
  const bool authenticated = life_.tainted;  // before TLS: RFC 3207 4.2
  if (!stream_ || (!another && !tells_tls && !authenticated)) return;
  const iovec part{const_cast<char*>(quit.data()), quit.size()};
  stream_->write(&part, 1);
  stream_.reset();
  drop();
  hello_name_.clear();
}

}  // namespace session
