// What the supervisor and its children say to each other over one SOCK_SEQPACKET control socket per child.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace supervisor {

struct Message {
  enum class Kind : std::uint8_t {
    // supervisor -> child
    scanner_socket = 1,  // index = loop; the descriptor replaces that loop's channel to the scanner
    keeper_socket,  // index = loop; the descriptor replaces that loop's channel to the keeper (proxy); a new loop's
                    // socket (keeper)
    log_file,       // the descriptor is the log from now on
    tls_files,      // the descriptor holds certificates and keys for new sessions (io/tls_files.h)
    transparent_sockets,  // index = loop, text = "4" or "6"; the descriptor is a bundle (scanner/packet_socket.h) of
                          // sockets that may take any source address
    reload,         // what was learnt of servers is doubted
    drain,          // finish what runs, accept no more, then exit 0
    cut,            // end now; replies that are still owed become 4yz; exit 75 if there was a transaction
    // child -> supervisor
    ready,   // listeners are served / jobs are taken; index = loop, text = "scanner" or "keeper": it has that one now
    sockets,  // index = loop, text = "4" or "6": send a batch of transparent sockets of this family
    silent,  // index = loop, text = "scanner" or "keeper": no answer in time, replace it
    offence,  // index = listener, text = "infected 192.0.2.1": this client is to be banned (ban_request.h)
    full,     // index = listener, text = "full" or "room": whether it has room for more sessions
  } kind = Kind::ready;
  std::uint32_t index = 0;
  std::string text;
  bool operator==(const Message&) const = default;
};
std::string encode(const Message& message);
std::optional<Message> decode(std::string_view bytes);

}  // namespace supervisor
