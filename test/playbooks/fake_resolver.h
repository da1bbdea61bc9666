// A DNS that answers as the test says, when the test says.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/io/resolver.h"

namespace playbook {

class FakeResolver final : public io::Resolver {
 public:
  explicit FakeResolver(io::Duration patience = std::chrono::seconds(5)) : Resolver(patience) {}
  ~FakeResolver() override {
    for (Question* question : open_) question->owner = nullptr;
  }

  std::unique_ptr<io::Query> ask(const std::string& name, io::RecordType type) override {
    auto question = std::make_unique<Question>(*this, name, type);
    ++asked_[{name, type}];
    const auto known = answers_.find({name, type});
    if (known != answers_.end()) question->give(known->second);
    else open_.push_back(question.get());
    return question;
  }

  // From now on the answer, also to whoever waits for it; until then a question waits.
  void set(const std::string& name, io::RecordType type, io::Lookup answer) {
    answers_.insert_or_assign({name, type}, answer);
    const auto open = std::exchange(open_, {});
    for (Question* question : open)
      if (question->name == name && question->type == type) question->give(answer);
      else open_.push_back(question);
  }
  void forget(const std::string& name, io::RecordType type) { answers_.erase({name, type}); }
  std::size_t asked(const std::string& name, io::RecordType type) const {
    const auto found = asked_.find({name, type});
    return found == asked_.end() ? 0 : found->second;
  }
  std::size_t open() const { return open_.size(); }

 private:
  struct Question final : io::Query {
    Question(FakeResolver& resolver, std::string asked_name, io::RecordType asked_type)
        : owner(&resolver), name(std::move(asked_name)), type(asked_type) {}
    ~Question() override {
      if (owner != nullptr) std::erase(owner->open_, this);
    }
    using Query::give;
    FakeResolver* owner;
    std::string name;
    io::RecordType type;
  };
  using Key = std::pair<std::string, io::RecordType>;
  std::map<Key, io::Lookup> answers_;
  std::map<Key, std::size_t> asked_;
  std::vector<Question*> open_;
};

}  // namespace playbook
