// BDAT (RFC 3030): its command, and the octets of its chunks on their way into one message.
//
// A refused BDAT is followed by its octets all the same: the caller swallows them (ChunkContent::discarded) before it
// reads the next command. Where the command itself cannot be read, nobody knows where the next one begins: refuse and
// close (T:B5).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "protocol/line_ends.h"
#include "protocol/reply.h"

namespace protocol {

struct BdatCommand {
  std::uint64_t size = 0;  // octets that follow the command's CRLF; 0 is legal
  bool last = false;
  bool operator==(const BdatCommand&) const = default;
};

// `argument` is what follows BDAT: chunk-size = 1*20DIGIT, below 2^63 so that sums of sizes do not wrap soon; then LAST
// or nothing. The error is 501 5.5.4; the session ends with it.
std::expected<BdatCommand, Reply> parse_bdat(std::string_view argument);
std::string format(const BdatCommand& command);  // "BDAT 1000 LAST", without CRLF

enum class ChunkContent {
  // BODY=7BIT, 8BITMIME or none: made canonical as the content of DATA is (line_ends.h), across the borders of chunks.
  // RFC 3030 lets such a message end without CRLF, DATA cannot carry that: a last line without CRLF gets one, here and
  // not on the way out, so that what is scanned is what is relayed, by DATA or BDAT alike. An empty message stays
  // empty.
  text,
  binary,     // BODY=BINARYMIME: untouched; only octets and NULs are counted
  discarded,  // swallowed, nothing is given out or counted
};

// The chunks of one message.
class ChunkReader {
 public:
  explicit ChunkReader(ChunkContent content) : content_(content) {}
  // The chunk whose octets come next. Not while one is open or after the last.
  void begin(const BdatCommand& chunk);
  // Takes octets of the chunk from the front of `input` (advanced past them) and appends what they stand for to `out`.
  // True when the chunk is complete (for size 0 at once, with no input); bytes behind it stay in `input`. A CR at the
  // end of a chunk that is not the last is held back. `out` may be cleared by the caller between calls.
  bool feed(std::string_view& input, std::string& out);
  // From here on everything is swallowed: the message has been refused, its chunks still come.
  void discard() { content_ = ChunkContent::discarded; }
  bool finished() const { return finished_; }   // the last chunk is complete
  std::uint64_t left() const { return left_; }  // octets of the open chunk that have not come yet
  std::uint64_t chunks() const { return chunks_; }
  const ContentCounts& counts() const { return lines_.counts(); }

 private:
  void take(std::string_view piece, std::string& out);
  ChunkContent content_;
  LineEnds lines_;
  std::uint64_t left_ = 0;
  std::uint64_t chunks_ = 0;
  bool last_ = false;
  bool finished_ = false;
};

}  // namespace protocol
