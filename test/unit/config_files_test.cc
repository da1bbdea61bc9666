#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using config_test::Files;
using config_test::outcome;
using config_test::with;
using Lines = std::vector<std::string>;

TEST_CASE("several files: positions and pointers are those of the file") {
  const std::string more =
      "{\"listeners\": [\n {\"name\": \"out\", \"address\": \"127.0.0.1:587\", \"downstream\": \"mtb\"}]}";
  CHECK(outcome(Files{{"main", with("")}, {"conf.d/a", more}}) ==
        Lines{"conf.d/a:2:60: /listeners/0/downstream: there is no downstream \"mtb\" in /downstreams; did you mean "
              "\"mta\"?"});
  CHECK(
      outcome(
          Files{{"main", with("")}, {"conf.d/a", "{\"loops\": 1,\"override\":1}"}, {"conf.d/b", "{\"loops\": 2}"}}) ==
      Lines{"conf.d/a:1:13: /override: unknown key \"override\"; it is true or false, and only in files of conf.d",
            "conf.d/b:1:11: /loops: already given at conf.d/a:1:11; to replace it, say \"override\": true beside it"});
  CHECK(outcome(Files{{"main", with("")}, {"conf.d/a", "{"}}) ==
        Lines{"conf.d/a:1:2: unexpected end of input; expected string literal"});
  CHECK(outcome(Files{{"main", with("")}, {"conf.d/a", "[]"}}) ==
        Lines{"conf.d/a:1:1: expects an object, not an array"});
}

// A directory of its own, gone at the end.
class Directory {
 public:
  Directory() {
    std::string name = std::filesystem::temp_directory_path() / "config_load_test.XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string at(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

constexpr const char* numbers = R"(,"users":{"proxy":64001,"keeper":64002,"scanner":64003})";

TEST_CASE("files: conf.d beside the file, in name order") {
  const Directory directory;
  const std::string main = directory.write("gatepost.json", with(numbers));
  REQUIRE(config::load_file(main));
  directory.write("conf.d/20.json", R"({"loops": 20, "override": true})");
  directory.write("conf.d/10.json", R"({"loops": 10, "log": {"to": "syslog"}})");
  directory.write("conf.d/.30.json", "not read");
  directory.write("conf.d/30.json.bak", "not read");
  const auto loaded = config::load_file(main);
  REQUIRE(loaded);
  CHECK(loaded->config->loops == 20);
  CHECK(loaded->config->log.to == "syslog");
  const std::string bad = directory.write("conf.d/40.json", "{\n\"loops\": 1}");
  const auto failed = config::load_file(main);
  REQUIRE_FALSE(failed);
  REQUIRE(failed.error().size() == 1);
  CHECK(to_text(failed.error()[0])
            .starts_with(bad + ":2:10: /loops: already given at " + directory.at("conf.d/20.json:1:11")));
}

TEST_CASE("files that cannot be read") {
  const Directory directory;
  const auto error_of = [](const std::string& path) {
    const auto loaded = config::load_file(path);
    REQUIRE_FALSE(loaded);
    return to_text(loaded.error().at(0));
  };
  const std::string gone = directory.at("gone.json");
  CHECK(error_of(gone) == gone + ": cannot read: No such file or directory");
  CHECK(error_of(directory.at("")) == directory.at("") + ": cannot read: Is a directory");
  const std::string huge = directory.write("huge.json", std::string((4U << 20U) + 1, ' '));
  CHECK(error_of(huge) == huge + ": cannot read: larger than 4 MiB, so this is no config");
  const std::string main = directory.write("gatepost.json", with(numbers));
  std::filesystem::create_directories(directory.at("conf.d/dir.json"));
  CHECK(error_of(main) == directory.at("conf.d/dir.json") + ": cannot read: Is a directory");
}

}  // namespace
