#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "config/endpoint.h"
#include "proxy/supervisor/sockets.h"

using namespace supervisor;

namespace {

config::Listener unix_listener(const std::string& path) {
  config::Listener out;
  out.name = "lmtp";
  out.address = config::parse_unix("unix:" + path).value();
  return out;
}

bool may_connect(const config::Endpoint& endpoint) {
  const scanner::OwnedFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  return ::connect(socket.get(), endpoint.get(), endpoint.length) == 0;
}

int in_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("a UNIX socket: one for all loops, open to all, replaced when nobody listens, taken away at the end") {
  const std::filesystem::path directory = std::filesystem::temp_directory_path() / ("gp-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  const std::string path = directory / "lmtp.sock";
  const config::Listener listener = unix_listener(path);
  {
    const auto first = listen_on({listener}, 3);
    REQUIRE(first);
    CHECK(first->addresses[0] == "unix:" + path);
    struct stat status {};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    CHECK(status.st_mode == (S_IFSOCK | 0666));
    REQUIRE(may_connect(listener.address));
    const scanner::OwnedFd accepted(::accept(first->sockets[2][0].get(), nullptr, nullptr));
    CHECK(accepted.get() >= 0);
    CHECK(::accept(first->sockets[0][0].get(), nullptr, nullptr) == -1);
    CHECK(errno == EAGAIN);
    const auto second = listen_on({listener}, 1);
    REQUIRE_FALSE(second);
    CHECK(second.error().find("\"lmtp\"") != std::string::npos);
    CHECK(second.error().find("another program listens there") != std::string::npos);
    CHECK(may_connect(listener.address));
    CHECK(in_child([&] { first->~Listening(); }) == 0);  // a child that forgets about it
    CHECK(std::filesystem::exists(path));
  }
  CHECK_FALSE(std::filesystem::exists(path));
  {  // what a killed supervisor leaves behind
    const scanner::OwnedFd left(::socket(AF_UNIX, SOCK_STREAM, 0));
    REQUIRE(::bind(left.get(), listener.address.get(), listener.address.length) == 0);
  }
  {
    const auto again = listen_on({listener}, 1);
    REQUIRE(again);
    CHECK(may_connect(listener.address));
    std::filesystem::remove(path);
    std::ofstream(path) << "somebody else's";
  }
  CHECK(std::filesystem::exists(path));
  const auto no_socket = listen_on({listener}, 1);
  REQUIRE_FALSE(no_socket);
  CHECK(no_socket.error().find("is no socket") != std::string::npos);
  CHECK(std::filesystem::file_size(path) == 15);
  const auto nowhere = listen_on({unix_listener(directory / "none/lmtp.sock")}, 1);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().find("the directory must exist") != std::string::npos);
  std::filesystem::remove_all(directory);
}
