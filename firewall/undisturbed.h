// While one of these lives, Ctrl-C and a closed terminal wait: until the rules are whole, and until it is said what is in
// force now. There may be several at a time, in one thread; signals come when the last is gone.
#pragma once

#include <csignal>

namespace firewall {

class Undisturbed {
 public:
  Undisturbed() {
    if (alive_++ != 0) return;
    sigset_t these;
    sigemptyset(&these);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) sigaddset(&these, number);
    ::sigprocmask(SIG_BLOCK, &these, &before_);
  }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;
  ~Undisturbed() {
    if (--alive_ == 0) ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  static inline int alive_ = 0;
  static inline sigset_t before_{};
};

}  // namespace firewall
