#include "proxy/keeper/commit.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <optional>

namespace keeper {
namespace {

constexpr std::size_t max_swept = 10'000;  // names remembered

// A job under way.
struct Work {
  explicit Work(const Job& of) : job(of) {}
  const Job& job;
  std::vector<Copy> copies;
  std::set<std::string> directories;  // to be fsynced before the job is durable
  std::optional<Failure> failed;
  void fail(Failure why) {
    failed = std::move(why);
    copies.clear();  // takes the files away
  }
};

std::optional<Failure> sync_directory(const std::string& path, DirectorySyncs& syncs) {
  const scanner::OwnedFd directory(
      uninterrupted([&path] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!directory) {
    if (errno == ENOENT) syncs.gone(path);
    return failure(errno, "open", path);
  }
  if (uninterrupted([&directory] { return ::fsync(directory.get()); }) != 0) return failure(errno, "fsync", path);
  syncs.synced(path);
  return std::nullopt;
}

Answer answer(const Work& work) {
  Answer out;
  out.id = work.job.request.id;
  out.status = work.failed ? work.failed->status : Answer::Status::kept;
  if (work.failed) out.detail = work.failed->text;
  return out;
}

// `step` for every copy of every job that is still whole.
template <class Step>
void each_copy(std::vector<Work>& works, Step step) {
  for (Work& work : works)
    for (std::size_t i = 0; i < work.copies.size(); ++i)
      if (auto done = step(work, work.copies[i]); !done) {
        work.fail(std::move(done.error()));
        break;
      }
}

// Each distinct directory once.
void sync_directories(std::vector<Work>& works, DirectorySyncs& syncs, const std::function<void()>& between) {
  std::map<std::string, std::optional<Failure>> synced;
  for (const Work& work : works)
    if (!work.failed)
      for (const std::string& path : work.directories) synced.try_emplace(path);
  for (auto& [path, failed] : synced) {
    failed = sync_directory(path, syncs);
    between();
  }
  for (Work& work : works) {
    for (const std::string& path : work.directories)
      if (!work.failed && synced[path]) work.fail(*synced[path]);
    for (Copy& copy : work.copies) copy.settle();
  }
}

}  // namespace

// Writes the copies of one job into tmp/.
class Batch {
 public:
  Batch(Committer& committer, std::time_t now) : committer_(committer), now_(now) {}

  std::expected<void, Failure> write(Work& work) {
    const Request& request = work.job.request;
    for (const Recipient& recipient : request.recipients) {
      const auto mailbox = expand(request.path, recipient);
      if (!mailbox) return std::unexpected(mailbox.error());
      if (auto ready = make_ready(*mailbox, request.create, committer_.syncs_); !ready) return ready;
      committer_.sweep_once(*mailbox);
      const auto fields = top_fields(request, recipient, now_);
      if (!fields) return std::unexpected(fields.error());
      auto copy =
          Copy::write(*mailbox, committer_.names_, *fields, {work.job.content.get(), request.prefix, request.size});
      if (!copy) return std::unexpected(copy.error());
      work.directories.insert(copy->directory());
      // Made by this job, or by an earlier one that then failed: whoever lies below needs them all.
      work.directories.merge(committer_.syncs_.pending_above(*mailbox));
      work.copies.push_back(std::move(*copy));
    }
    return {};
  }

 private:
  Committer& committer_;
  std::time_t now_;
};

void Committer::sweep_once(const std::string& mailbox) {
  if (swept_.size() >= max_swept) swept_.clear();
  if (swept_.insert(mailbox).second) sweep_tmp(mailbox, ::time(nullptr));
}

std::vector<Answer> Committer::deliver(const std::vector<Job>& jobs, const std::function<void()>& between) {
  Batch batch(*this, ::time(nullptr));
  std::vector<Work> works;
  works.reserve(jobs.size());
  for (const Job& job : jobs) {
    Work& work = works.emplace_back(job);
    if (auto written = batch.write(work); !written) work.fail(std::move(written.error()));
  }
  each_copy(works, [&between](Work&, Copy& copy) {
    auto synced = copy.sync();
    between();
    return synced;
  });
  each_copy(works, [](Work&, Copy& copy) { return copy.publish(); });
  sync_directories(works, syncs_, between);
  std::vector<Answer> answers;
  answers.reserve(works.size());
  for (const Work& work : works) answers.push_back(answer(work));
  return answers;
}

Answer Committer::look_up(const Request& request) {
  Answer out;
  out.id = request.id;
  const auto mailbox = expand(request.path, request.recipients.front());
  const auto there = mailbox ? keeper::look_up(*mailbox, request.create) : std::unexpected(mailbox.error());
  out.status = there ? Answer::Status::kept : there.error().status;
  if (!there) out.detail = there.error().text;
  return out;
}

}  // namespace keeper
