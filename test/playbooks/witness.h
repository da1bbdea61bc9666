// Follows the bytes of both legs as a third party would, to tell what each side must believe about each message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace playbook {

class ClientWitness {
 public:
  void client_sent(std::string_view bytes);
  void client_received(std::string_view bytes);
  std::size_t replies() const { return replies_; }  // complete ones, the banner included
  const std::vector<std::string>& end_of_data_replies() const { return answers_; }  // their last lines
  std::size_t promised() const;                                                     // 2yz at end of data

 private:
  std::string line_;  // of a reply, incomplete
  std::string tail_;  // last octets of the content
  enum class At { command, content, answer } at_ = At::command;
  std::size_t replies_ = 0;
  std::vector<std::string> answers_;
};

class DownstreamWitness {
 public:
  void downstream_sent(std::string_view bytes);
  void downstream_received(std::string_view bytes);
  const std::vector<std::string>& commands() const { return commands_; }  // without CRLF
  // Wire form, final dot included, of each message that came whole.
  const std::vector<std::string>& messages() const { return messages_; }
  std::size_t accepted() const { return accepted_; }  // 2yz at end of data

 private:
  std::string reply_line_;
  std::string line_;     // of a command, incomplete
  std::string content_;  // so far
  enum class At { command, asked, content, answer } at_ = At::command;
  std::vector<std::string> commands_;
  std::vector<std::string> messages_;
  std::size_t accepted_ = 0;
};

// The content of a message from its wire form: final dot and dot-stuffing taken off. Nothing canonical is assumed.
std::string unstuffed(std::string_view wire);
// Every line ends in CRLF, no CR or LF stands alone, the last line is the only one that is a dot alone.
bool is_canonical(std::string_view wire);

}  // namespace playbook
