#include "test/playbooks/fakes.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace playbook {

using io::Task;

Peer& FakeConnector::peer(std::size_t number) {
  std::unique_ptr<Peer>& peer = peers_[number];
  if (!peer) peer = std::make_unique<Peer>();
  return *peer;
}

Task<io::Connected> FakeConnector::connect(const std::vector<config::Endpoint>& servers, io::Scope& scope,
                                           io::Duration per_server, io::TimePoint until) {
  const std::size_t number = ++attempts_;
  const std::string server = servers.front().text;
  const auto planned = plans_.find(number);
  const Plan plan = planned == plans_.end() ? Plan::accept : planned->second;
  if (plan == Plan::refuse) co_return std::unexpected(io::ConnectError(server + ": Connection refused"));
  if (plan == Plan::hang) {
    co_await io::Wait(scope, std::min(until, scope.now() + per_server));
    co_return std::unexpected(io::ConnectError(server + ": timed out"));
  }
  co_return io::Connection(peer(number).connect(server), server.substr(0, server.rfind(':')));
}

class FakeScanner::Job final : public judge::ScanJob {
 public:
  Job(FakeScanner& owner, std::optional<scanner::Report> report) : owner_(owner), report_(std::move(report)) {
    owner_.jobs_.push_back(this);
  }
  ~Job() override { std::erase(owner_.jobs_, this); }
  std::optional<scanner::Report> report() override { return report_; }
  io::Signal& done() override { return done_; }
  void overdue() override { ++owner_.overdue_; }
  bool waits() const { return !report_; }
  void answer(scanner::Report report) {
    report_ = std::move(report);
    done_.raise();
  }

 private:
  FakeScanner& owner_;
  std::optional<scanner::Report> report_;
  io::Signal done_;
};

std::unique_ptr<judge::ScanJob> FakeScanner::start(io::Spool& spool, io::Duration) {
  const auto fd = spool.shared_descriptor();
  if (!fd) throw std::runtime_error("the scanner got no descriptor");
  seen_.push_back(content_of(*fd, spool.prefix_size()));
  std::optional<scanner::Report> report = scanner::Report();
  if (!planned_.empty()) {
    report = std::move(planned_.front());
    planned_.pop_front();
  }
  return std::make_unique<Job>(*this, std::move(report));
}

void FakeScanner::report(scanner::Report report) {
  for (Job* job : jobs_)
    if (job->waits()) return job->answer(std::move(report));
  planned_.emplace_back(std::move(report));
}

class FakeKeeper::Job final : public judge::KeeperJob {
 public:
  Job(FakeKeeper& owner, std::uint64_t id, keeper::Request request)
      : owner_(owner), id_(id), request_(std::move(request)) {
    owner_.jobs_.push_back(this);
  }
  ~Job() override { std::erase(owner_.jobs_, this); }
  std::optional<keeper::Answer> answer() override {
    if (!status_) return std::nullopt;
    keeper::Answer answer;
    answer.id = id_;
    answer.status = *status_;
    answer.known = known_;
    return answer;
  }
  io::Signal& done() override { return done_; }
  void overdue() override { ++owner_.overdue_; }
  bool waits() const { return !status_; }
  void give(keeper::Answer::Status status) {
    status_ = status;
    const bool kept = status == keeper::Answer::Status::kept;
    if (kept && request_.kind == keeper::Request::Kind::deliver) ++owner_.kept_;
    if (kept && request_.of_journal()) known_ = owner_.consult_journal(request_);
    done_.raise();
  }

 private:
  FakeKeeper& owner_;
  std::uint64_t id_;
  keeper::Request request_;
  std::optional<keeper::Answer::Status> status_;
  std::string known_;
  io::Signal done_;
};

std::unique_ptr<judge::KeeperJob> FakeKeeper::start(keeper::Request request, int fd) {
  std::string recipients;
  for (const keeper::Recipient& recipient : request.recipients)
    recipients += (recipients.empty() ? "<" : ",<") + recipient.forward_path + ">";
  if (request.kind == keeper::Request::Kind::lookup) {
    asked.push_back("lookup " + recipients);
  } else if (request.of_journal()) {
    const auto name = request.kind == keeper::Request::Kind::recall     ? "recall "
                      : request.kind == keeper::Request::Kind::remember ? "remember "
                                                                        : "forget ";
    asked.push_back(name + std::to_string(request.keys.size() / keeper::key_octets));
  } else {
    ++deliveries_;
    asked.push_back("deliver from <" + request.return_path + "> to " + recipients);
    content = content_of(fd, request.prefix);
    extra_fields = request.extra_fields;
    received = request.received;
    if (content.size() != request.size) throw std::runtime_error("the keeper was told a wrong size");
  }
  std::optional<keeper::Answer::Status> status = keeper::Answer::Status::kept;
  if (!planned_.empty()) {
    status = planned_.front();
    planned_.pop_front();
  }
  auto job = std::make_unique<Job>(*this, ++last_id_, std::move(request));
  if (status) job->give(*status);
  return job;
}

std::string FakeKeeper::consult_journal(const keeper::Request& request) {
  std::string known;
  for (std::size_t at = 0; at < request.keys.size(); at += keeper::key_octets) {
    const std::string key = request.keys.substr(at, keeper::key_octets);
    if (request.kind == keeper::Request::Kind::recall) known += journal_.contains(key) ? '1' : '0';
    else if (request.kind == keeper::Request::Kind::remember) journal_.insert(key);
    else journal_.erase(key);
  }
  return known;
}

void FakeKeeper::answer(keeper::Answer::Status status) {
  for (Job* job : jobs_)
    if (job->waits()) return job->give(status);
  planned_.emplace_back(status);
}

void* FakeInFlight::open(const session::Parcel&, std::string_view) {
  if (slots_.size() >= capacity) return nullptr;
  ++ever_;
  slots_.push_back(std::make_unique<int>(0));
  return slots_.back().get();
}

void FakeInFlight::close(void* slot) {
  const auto same = [slot](const std::unique_ptr<int>& open) { return open.get() == slot; };
  if (std::erase_if(slots_, same) != 1) throw std::logic_error("a slot was closed that is not open");
}

std::string content_of(int fd, std::uint64_t prefix) {
  std::string content;
  char piece[16384];
  for (auto at = static_cast<off_t>(prefix);;) {
    const ssize_t got = ::pread(fd, piece, sizeof piece, at);
    if (got < 0) throw std::runtime_error("a descriptor cannot be read");
    if (got == 0) return content;
    content.append(piece, static_cast<std::size_t>(got));
    at += got;
  }
}

}  // namespace playbook
