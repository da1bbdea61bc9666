// The gate as the supervisor sees it: started, told how the proxy is, asked whether it is alive.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include "firewall/gate/settings.h"
#include "proxy/supervisor/family.h"
#include "proxy/supervisor/program.h"

namespace supervisor {

using admin::Level;

void Family::start_gate() {
  gate::Settings settings = gate::settings_of(*config_);
  if (::geteuid() == 0) {
    settings.uid = config_->gate_account.uid;
    settings.gid = config_->gate_account.gid;
  }
  auto program =
      start_program({"the gate", "gatepost-gate", "GATEPOST_GATE", "../firewall/gate"}, to_json(settings), 0);
  if (!program) {
    gate_failed_ = true;
    const auto pause = gate_.buried(Clock::now());
    return say(Level::error, fmt::format("{}; next try in {} ms", program.error(), pause.count()));
  }
  gate_.adopt(program->pid, std::move(program->control));
  gate_words_.fd = std::move(program->said);
  gate_heartbeat_.begin(gate_.started());
  tell_gate();
}

void Family::tell_gate() {
  if (!gate_.running()) return;
  gate_.send(proxy_.ready && !proxy_ends_ ? "ready" : "unready", {});
  for (unsigned listener = 0; listener < config_->listeners.size(); ++listener)
    if (config_->listeners[listener].intercept != config::Intercept::none) tell_room(listener);
}

void Family::tell_room(unsigned listener) {
  const char* const word = full_listeners_.contains(listener) ? "full" : "room";
  gate_.send(fmt::format("{} {}", word, config_->firewall.gate.queue + listener), {});
}

// A listener may be full and have room again many times in a minute.
void Family::note_room(unsigned listener, bool full) {
  constexpr std::chrono::minutes between_lines{1};
  if (listener >= config_->listeners.size() || config_->listeners[listener].intercept == config::Intercept::none)
    return;
  if (full) full_listeners_.insert(listener);
  else full_listeners_.erase(listener);
  if (gate_.running()) tell_room(listener);
  const Clock::time_point now = Clock::now();
  if (!full || now < next_line_about_room_) return;
  next_line_about_room_ = now + between_lines;
  say(Level::warning,
      fmt::format("listener {} has no room for more sessions: the gate {}", config_->listeners[listener].name,
                  config_->firewall.gate.on_failure == config::OnFailure::open ? "lets new connections by, unscanned"
                                                                               : "resets new connections"));
}

void Family::ask_gate(Clock::time_point now) {
  if (gate_heartbeat_.due(now)) {
    gate_.send("alive?", {});
    gate_heartbeat_.asked(now);
  }
  if (!gate_heartbeat_.silent(now)) return;
  hear(gate_);  // we may have been late ourselves
  if (!gate_heartbeat_.silent(now)) return;
  say(Level::error, fmt::format("the gate (pid {}) gives no answer and is replaced: first packets that wait for it are "
                                "dropped, and sent again by their clients",
                                gate_.pid()));
  gate_heartbeat_.end();
  gate_.signal(SIGKILL);
}

void Family::hear_gate(std::string_view word) {
  gate_.ready = gate_.ready || word == "ready";
  gate_heartbeat_.heard(Clock::now());
}

}  // namespace supervisor
