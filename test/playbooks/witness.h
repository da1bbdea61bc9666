// Follows the bytes of both legs as a third party would, to tell what each side must believe about each message.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/proxy_header.h"

namespace playbook {

class ClientWitness {
 public:
  void client_sent(std::string_view bytes);
  void client_received(std::string_view bytes);
  std::size_t replies() const { return replies_; }  // complete ones, the banner included
  const std::vector<std::string>& end_of_data_replies() const { return answers_; }  // their last lines
  std::size_t promised() const;                                                     // 2yz at end of data
  std::size_t finished() const { return finished_; }              // messages up to their end, by the client
  std::size_t mails_accepted() const { return mails_accepted_; }  // as far as it was told
  bool quits() const;                                             // a QUIT of it has no reply yet

 private:
  void content(char c);
  void command(char c);
  void reply(std::string_view line);
  std::string line_;               // of a reply, incomplete
  std::string tail_;               // last octets of the content
  std::string command_;            // incomplete; no more of it than tells its verb and a chunk's size
  std::size_t chunk_left_ = 0;     // octets of a BDAT
  bool answered_early_ = false;    // it has its reply already: it is too long
  std::deque<std::string> asked_;  // commands without a reply
  enum class At { command, content, chunk, answer } at_ = At::command;
  std::size_t replies_ = 0;
  std::size_t finished_ = 0;
  std::size_t mails_accepted_ = 0;
  std::vector<std::string> answers_;
};

class DownstreamWitness {
 public:
  void downstream_sent(std::string_view bytes);
  void downstream_received(std::string_view bytes);
  const std::vector<std::string>& commands() const { return commands_; }  // without CRLF
  // Wire form, final dot included, of each message that came whole.
  const std::vector<std::string>& messages() const { return messages_; }
  // Of each message that came whole by BDAT: its octets as they are.
  struct Chunked {
    std::string content;
    bool binary = false;
  };
  const std::vector<Chunked>& chunked() const { return chunked_; }
  std::size_t whole() const { return messages_.size() + chunked_.size(); }
  std::size_t accepted() const { return accepted_; }              // 2yz at end of data
  std::size_t mails_accepted() const { return mails_accepted_; }  // those said again included

 private:
  std::optional<protocol::ProxyHeaderParser> header_{protocol::ProxyVersion::either};  // no dialogue yet
  bool began_ = false;
  std::string reply_line_;
  std::string line_;     // of a command, incomplete
  std::string content_;  // so far
  void command(std::string_view line);
  void end_chunk();
  enum class At { command, asked, content, chunk, answer } at_ = At::command;
  std::vector<std::string> commands_;
  std::vector<std::string> messages_;
  std::vector<Chunked> chunked_;
  Chunked open_;  // its octets so far
  std::size_t chunk_left_ = 0;
  bool last_chunk_ = false;
  bool binary_ = false;  // said MAIL
  bool greeted_ = false;
  std::size_t answered_ = 0;  // of commands_
  std::size_t accepted_ = 0;
  std::size_t mails_accepted_ = 0;
};

// "BDAT 12 LAST" -> 12, and whether it is the last; nothing where it is none.
struct ChunkSize {
  std::size_t octets = 0;
  bool last = false;
};
std::optional<ChunkSize> chunk_size(std::string_view command);

// The content of a message from its wire form: final dot and dot-stuffing taken off. Nothing canonical is assumed.
std::string unstuffed(std::string_view wire);
// Likewise of content.
bool has_canonical_lines(std::string_view content);
// Every line ends in CRLF, no CR or LF stands alone, the last line is the only one that is a dot alone.
bool is_canonical(std::string_view wire);

}  // namespace playbook
