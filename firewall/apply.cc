#include "firewall/apply.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/random.h>

#include <algorithm>
#include <ctime>

#include "firewall/counters.h"
#include "firewall/guardian.h"
#include "firewall/undisturbed.h"

namespace firewall {
namespace {

// For who has the lock: a gatepost that is told to end waits for it three times, and serves meanwhile.
constexpr std::chrono::seconds before_removal{13};

const Watch unseen = [](const Step&) {};

std::unexpected<Failure> failure(Failure::Kind kind, std::string sentence) {
  return std::unexpected(Failure{kind, {std::move(sentence)}});
}

bool holds(const Condition& condition) {
  const Outcome outcome = run({condition.argv});
  return outcome.ok() && outcome.out.find(condition.output) != std::string::npos;
}

std::string sentence_of(const Step& step, const Outcome& outcome) {
  std::string said = outcome.err.empty() ? outcome.out : outcome.err;
  while (said.ends_with('\n')) said.pop_back();
  return fmt::format("{}: {} ended with {}{}{}", step.why, in_shell(step.command.argv), outcome.status,
                     said.empty() ? "" : ": ", said);
}

// Those steps of `all` that are none of `kept`, too.
std::vector<Step> without(const std::vector<Step>& all, const std::optional<Plan>& kept) {
  std::vector<Step> left;
  for (const Step& each : all)
    if (!kept || std::ranges::find(kept->remove, each) == kept->remove.end()) left.push_back(each);
  return left;
}

// The facts, with whatever we have changed since as it was.
Facts as_before(Facts now, const std::optional<State>& state) {
  if (!state) return now;
  now.base_chains = state->before.base_chains;
  now.routing_tables = state->before.routing_tables;
  for (const auto& [name, value] : state->before.sysctls)
    if (is_set_by_us(name)) now.sysctls[name] = value;
  return now;
}

std::expected<std::pair<Plan, Facts>, Failure> plan_with(const config::Config& config, Facts before) {
  auto planned = plan(config, before);
  if (!planned) return std::unexpected(Failure{Failure::Kind::plan, std::move(planned.error())});
  return std::pair{*std::move(planned), std::move(before)};
}
std::expected<std::pair<Plan, Facts>, Failure> plan_over(const config::Config& config,
                                                         const std::optional<State>& state) {
  auto facts = probe();
  if (!facts) return failure(Failure::Kind::permission, facts.error());
  return plan_with(config, as_before(*std::move(facts), state));
}

void forget_previous(State& state) {
  state.previous.reset();
  state.previous_aside = false;
}

std::string new_token() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) number = static_cast<std::uint64_t>(::getpid());
  return fmt::format("{:016x}", number);
}

// After a failure: what is left over is the end of the sentence, nothing when all is as it was.
std::string undo_after_failure(const StateFile& file, const State& state) {
  const std::vector<std::string> wrong = roll_back(file, state);
  if (wrong.empty())
    return state.previous ? "the rules that were in force before are in force again" : "nothing of it is left";
  std::string all = "it could not be undone (\"gatepost firewall remove\" tries again)";
  for (const std::string& each : wrong) all += "; " + each;
  return all;
}

std::expected<void, Failure> run_all(const StateFile& file, State& state, const ApplyOptions& options) {
  std::vector<std::string> wrong = run_steps(state.plan.apply, options.watch, false);
  if (wrong.empty())
    wrong = run_steps(without(state.previous ? state.previous->remove : std::vector<Step>{}, state.plan), options.watch,
                      false);
  if (wrong.empty()) {
    state.phase = options.confirm_within.count() > 0 ? State::Phase::unconfirmed : State::Phase::applied;
    State kept = state;
    if (kept.phase == State::Phase::applied) forget_previous(kept);
    const auto saved = file.save(kept);
    if (saved) return {};
    wrong.push_back(saved.error());
  }
  wrong.push_back(undo_after_failure(file, state));
  return std::unexpected(Failure{Failure::Kind::step, std::move(wrong)});
}

// Its command changes one of these routing tables.
bool routes_of_others(const Step& step, const std::set<std::string>& tables) {
  const std::vector<std::string>& argv = step.command.argv;
  return argv.size() > 2 && argv[0] == "ip" && argv[2] == "route" &&
         tables.contains((argv[1] == "-4" ? "ip " : "ip6 ") + argv.back());
}

std::expected<void, Failure> remove_steps(const std::vector<Step>& steps, const Watch& watch) {
  std::vector<std::string> wrong = run_steps(steps, watch, true);
  if (!wrong.empty()) return std::unexpected(Failure{Failure::Kind::step, std::move(wrong)});
  return {};
}

std::expected<std::optional<State>, Failure> load(const StateFile& file) {
  auto found = file.load();
  if (!found) return failure(Failure::Kind::step, found.error());
  return *std::move(found);
}

// With the lock nobody is at it any more: what was cut gives way to the rules before it, which serve connections.
std::expected<std::optional<State>, Failure> load_whole(const StateFile& file) {
  auto found = load(file);
  if (!found || !*found || (*found)->phase != State::Phase::applying || !(*found)->previous) return found;
  if (auto wrong = roll_back(file, **found); !wrong.empty())
    return std::unexpected(Failure{Failure::Kind::step, std::move(wrong)});
  return load(file);
}

enum class Load { as_it_is, whole };
std::expected<bool, Failure> remove_if(const std::string& directory, const Watch& watch, Load how,
                                       const std::function<bool(const State&)>& wanted) {
  const auto file = StateFile::lock(directory, before_removal);
  if (!file) return failure_of(file.error());
  const Undisturbed undisturbed;
  const auto found = how == Load::whole ? load_whole(*file) : load(*file);
  if (!found) return std::unexpected(found.error());
  if (!*found) return how == Load::whole;  // gone by another hand
  if (!wanted(**found)) return false;
  std::vector<Step> steps = (*found)->plan.remove;
  if ((*found)->previous)
    for (Step& each : without((*found)->previous->remove, (*found)->plan)) steps.push_back(std::move(each));
  if (const auto done = remove_steps(steps, watch); !done) return std::unexpected(done.error());
  file->close(**found);
  return true;
}

}  // namespace

std::unexpected<Failure> failure_of(const NotLocked& error) {
  using Why = NotLocked::Why;
  const Failure::Kind kind = error.why == Why::busy       ? Failure::Kind::busy
                             : error.why == Why::not_root ? Failure::Kind::permission
                                                          : Failure::Kind::directory;
  return failure(kind, error.sentence);
}

std::optional<std::vector<std::string>> missing_parts(const Plan& plan) {
  std::vector<std::string> missing;
  const auto known = try_counters(plan);
  if (!known) return std::nullopt;
  const Counters& counters = *known;
  const bool counts = plan.backend == config::Backend::nft || plan.backend == config::Backend::iptables;
  for (const Diversion& each : plan.diversions) {
    if (!counts) break;
    if (!counters.contains(each.label())) missing.push_back("the rule " + each.label());
    if (!each.drop_interfaces.empty() && !counters.contains(dropped_label(each)))
      missing.push_back("the rule " + dropped_label(each));
  }
  for (const Step& each : plan.remove)
    if (each.condition && each.when && !each.may_fail && !holds(*each.condition)) missing.push_back(each.why);
  return missing;
}

std::vector<std::string> run_steps(const std::vector<Step>& steps, const Watch& watch, bool all) {
  std::vector<std::string> wrong;
  for (const Step& each : steps) {
    if (each.condition && holds(*each.condition) != each.when) continue;
    watch(each);
    const Outcome outcome = run(each.command);
    if (outcome.ok() || each.may_fail) continue;
    wrong.push_back(sentence_of(each, outcome));
    if (!all) break;
  }
  return wrong;
}

std::vector<std::string> take_back(const State& state) {
  // What was in force comes first: the rules that are to go may still use the lists that are to go.
  std::vector<std::string> wrong;
  if (state.previous) wrong = run_steps(state.previous->apply, unseen, true);
  if (state.previous && state.previous_aside)
    for (std::string& each : run_steps(state.previous->step_aside, unseen, true)) wrong.push_back(std::move(each));
  for (std::string& each : run_steps(without(state.plan.remove, state.previous), unseen, true))
    wrong.push_back(std::move(each));
  return wrong;
}

std::vector<std::string> roll_back(const StateFile& file, const State& state) {
  std::vector<std::string> wrong = take_back(state);
  if (!wrong.empty()) return wrong;
  if (!state.previous) {
    file.close(state);
    return wrong;
  }
  const auto saved = file.save({.phase = state.previous_aside ? State::Phase::aside : State::Phase::applied,
                                .plan = *state.previous,
                                .before = state.before});
  if (!saved) wrong.push_back(saved.error());
  return wrong;
}

std::expected<Plan, Failure> apply(const config::Config& config, const ApplyOptions& options) {
  const auto file = StateFile::lock(options.directory);
  if (!file) return failure_of(file.error());
  const Undisturbed undisturbed;
  auto found = file->load();
  if (!found) return failure(Failure::Kind::step, found.error());
  std::optional<State> earlier = *std::move(found);
  if (earlier && earlier->phase == State::Phase::unconfirmed)
    return failure(Failure::Kind::unconfirmed,
                   "an earlier apply is not confirmed yet: \"gatepost firewall confirm\" or \"remove\" first");
  if (earlier && earlier->phase == State::Phase::applying) {  // it was cut; the host has any part of it
    if (auto wrong = roll_back(*file, *earlier); !wrong.empty())
      return std::unexpected(Failure{Failure::Kind::step, std::move(wrong)});
    found = file->load();
    earlier = found ? *std::move(found) : std::nullopt;
  }
  auto planned = plan_over(config, earlier);
  if (!planned) return std::unexpected(std::move(planned.error()));
  State state{.phase = State::Phase::applying, .plan = planned->first, .before = std::move(planned->second)};
  if (earlier) {
    state.previous = std::move(earlier->plan);
    state.previous_aside = earlier->phase == State::Phase::aside;
  }
  state.owner = options.owner != 0 || !earlier ? options.owner : earlier->owner;
  state.token = new_token();
  state.deadline = static_cast<std::uint64_t>(::time(nullptr) + options.confirm_within.count());
  if (const auto saved = file->save(state); !saved) return failure(Failure::Kind::step, saved.error());
  if (options.confirm_within.count() > 0 && !post_guardian(options.directory, state, options.confirm_within))
    return failure(Failure::Kind::step, undo_after_failure(*file, state) + "; no process could be started to wait");
  if (auto done = run_all(*file, state, options); !done) return std::unexpected(std::move(done.error()));
  return state.plan;
}

std::expected<bool, Failure> put_back(const std::string& directory, const std::string& token) {
  const auto file = StateFile::lock(directory);
  if (!file) return failure_of(file.error());
  const Undisturbed undisturbed;
  const auto found = load(*file);
  if (!found) return std::unexpected(found.error());
  if (!*found || (*found)->phase != State::Phase::applied || (*found)->token != token) return false;
  std::vector<std::string> wrong = run_steps((*found)->plan.apply, unseen, false);
  if (!wrong.empty()) return std::unexpected(Failure{Failure::Kind::step, std::move(wrong)});
  return true;
}

std::expected<Plan, Failure> plan_here(const config::Config& config, const std::string& directory) {
  const auto state = load_state(directory);
  if (!state) return failure(Failure::Kind::step, state.error());
  auto planned = plan_over(config, *state);
  if (!planned) return std::unexpected(std::move(planned.error()));
  return std::move(planned->first);
}

std::expected<bool, Failure> confirm(const std::string& directory) {
  const auto file = StateFile::lock(directory);
  if (!file) return failure_of(file.error());
  const auto found = file->load();
  if (!found) return failure(Failure::Kind::step, found.error());
  if (!*found || (*found)->phase != State::Phase::unconfirmed) return false;
  State state = **found;
  state.phase = State::Phase::applied;  // the deadline stays until who waits has heard of it
  forget_previous(state);
  if (const auto saved = file->save(state); !saved) return failure(Failure::Kind::step, saved.error());
  return true;
}

std::expected<bool, Failure> step_aside(const std::string& directory, const Watch& watch) {
  const auto file = StateFile::lock(directory, before_removal);
  if (!file) return failure_of(file.error());
  const Undisturbed undisturbed;
  const auto found = load_whole(*file);
  if (!found) return std::unexpected(found.error());
  if (!*found || (*found)->phase == State::Phase::applying || (*found)->plan.step_aside.empty()) return false;
  State state = **found;
  // First, so that nobody takes them for whole when this is cut.
  state.phase = State::Phase::aside;
  if (const auto saved = file->save(state); !saved) return failure(Failure::Kind::step, saved.error());
  if (const auto done = remove_steps(state.plan.step_aside, watch); !done) return std::unexpected(done.error());
  return true;
}

namespace {

// Until no connection depends on what stepped aside, or nothing has (any more). Returns what is left.
std::optional<Diverted> wait_for_diverted(const std::string& directory, std::chrono::milliseconds longest,
                                          const Tell& tell) {
  constexpr std::chrono::milliseconds between{100};
  const auto until = std::chrono::steady_clock::now() + longest;
  auto left_until = until;
  std::optional<Diverted> last = Diverted{};
  for (bool served = true;;) {
    const auto now = std::chrono::steady_clock::now();
    const auto state = load_state(directory);
    const bool aside = state && *state && (*state)->phase == State::Phase::aside;
    // Whoever applies others may fail, and then what is diverted needs what stepped aside.
    const bool undecided = !state || (*state && (*state)->phase == State::Phase::applying && (*state)->previous_aside);
    if (!aside && !undecided) return Diverted{};
    const std::optional<Diverted> found = aside ? diverted_connections((*state)->plan) : std::nullopt;
    if (aside && found != last) tell(found);
    if (aside) last = found;
    if (served && found && found->served == 0) left_until = std::min(until, now + for_last_packets);
    served = !found || found->served != 0;
    if ((!served && found->left == 0) || now >= (served ? until : left_until)) return found;
    ::poll(nullptr, 0, static_cast<int>(between.count()));
  }
}

}  // namespace

std::expected<bool, Failure> remove(const std::string& directory, const Watch& watch) {
  return remove_if(directory, watch, Load::as_it_is, [](const State&) { return true; });
}

// Others may have been at work after the last look, and connections that they have diverted are served.
std::expected<bool, Failure> remove_when_unused(const std::string& directory, const Waiting& waiting, const Watch& watch) {
  const auto until = std::chrono::steady_clock::now() + waiting.longest;
  for (;;) {
    const auto left = std::max(until - std::chrono::steady_clock::now(), std::chrono::steady_clock::duration(0));
    const auto found = wait_for_diverted(directory, std::chrono::ceil<std::chrono::milliseconds>(left), waiting.tell);
    if (found && found->served + found->left != 0) waiting.cut(*found);
    bool used = false;
    const auto unused = [&](const State& state) {
      const auto now_running = diverted_connections(state.plan);
      used = state.phase == State::Phase::aside && now_running && now_running->served != 0 && std::chrono::steady_clock::now() < until;
      return state.phase == State::Phase::aside && !used;
    };
    const auto removed = remove_if(directory, watch, Load::whole, unused);
    if (!used) return removed;
  }
}

std::expected<bool, Failure> remove_planned(const config::Config& config, const std::string& directory,
                                            const Watch& watch) {
  const auto file = StateFile::lock(directory, before_removal);
  if (!file) return failure_of(file.error());
  const Undisturbed undisturbed;
  auto facts = probe();
  if (!facts) return failure(Failure::Kind::permission, facts.error());
  const std::set<std::string> of_others = std::exchange(facts->routing_tables, {});
  auto planned = plan_with(config, *std::move(facts));
  if (!planned) return std::unexpected(planned.error());
  std::erase_if(planned->first.remove, [&](const Step& step) { return routes_of_others(step, of_others); });
  if (const auto done = remove_steps(planned->first.remove, watch); !done) return std::unexpected(done.error());
  return true;
}

}  // namespace firewall
