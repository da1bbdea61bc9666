"""What was said over loopback, read from the packets themselves: nobody's connection is touched, and clients and servers
keep their ports. Needs root."""
import contextlib
import ipaddress
import os
import select
import socket
import struct
import threading

from peers import PATIENCE

ETH_P_ALL, PACKET_HOST, SO_RCVBUFFORCE = 3, 0, 33
FIN, SYN, RST, ACK = 1, 2, 4, 16
LARGEST = 1 << 17


class Stream:
    """One connection: `meant` is where its SYN went when it left (behind the packet filter of the sender)."""

    def __init__(self, client, meant):
        self.client, self.meant = client, meant
        self._segments, self._finished, self._reset = ([], []), [False, False], False

    def add(self, back, flags, sequence, octets):
        if octets or flags & (SYN | FIN):
            self._segments[back].append((sequence, flags, octets))
        self._finished[back] = self._finished[back] or bool(flags & FIN)
        self._reset = self._reset or bool(flags & RST)

    def begins_at(self, sequence):
        return any(flags & SYN and (at - sequence) & 0xffffffff == 0 for at, flags, _ in self._segments[0])

    @property
    def over(self):
        return self._reset or all(self._finished)

    def whole(self):
        """(what the client sent, what it was answered); an error where a packet was missed."""
        return self._assembled(0), self._assembled(1)

    def _assembled(self, back):
        """Packets come in any order, and some of them twice."""
        first = next((sequence + 1 for sequence, flags, _ in self._segments[back] if flags & SYN), None)
        if first is None:
            return b""  # nobody answered
        octets = bytearray()
        for at, piece in sorted(((sequence - first) & 0xffffffff, piece) for sequence, flags, piece in self._segments[back]
                                if not flags & SYN):
            if at > len(octets):
                raise AssertionError(f"the tap has missed what stands at {len(octets)} between {self.client} and {self.meant}")
            octets[at:at + len(piece)] = piece
        return bytes(octets)


class Wiretap:
    """Of all TCP over lo in the network of this process."""

    def __init__(self):
        self._streams, self._new = {}, []
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind(("lo", ETH_P_ALL))
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self):
        os.close(self._ended)
        self._thread.join()
        os.close(self._end)
        self._socket.close()

    def forget(self):
        with self._changed:
            self._new = []

    def streams(self, ports, seconds=PATIENCE):
        """Those that began since the last forget() and were meant for one of the ports, once there are some and all of them
        are over."""
        with self._changed:
            def found():
                return [each for each in self._new if each.meant[1] in ports]
            if not self._changed.wait_for(lambda: found() and all(each.over for each in found()), seconds):
                raise AssertionError(f"not over after {seconds} s: {[(each.client, each.meant) for each in self._new if not each.over]}")
            return found()

    def _read(self):
        while self._end not in select.select([self._socket, self._end], [], [])[0]:
            packet, where = self._socket.recvfrom(LARGEST)
            if where[2] == PACKET_HOST:  # each comes twice: as it leaves and as it arrives
                with contextlib.suppress(struct.error, ValueError):
                    self._take(packet)

    def _take(self, packet):
        if packet[0] >> 4 == 4:
            start, size = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)[0]
            protocol, source, target = packet[9], packet[12:16], packet[16:20]
        else:
            start, size = 40, 40 + struct.unpack_from("!H", packet, 4)[0]
            protocol, source, target = packet[6], packet[8:24], packet[24:40]
        if protocol != socket.IPPROTO_TCP:
            return
        ports = struct.unpack_from("!HH", packet, start)
        ends = tuple((str(ipaddress.ip_address(address)), port) for address, port in zip((source, target), ports))
        sequence, acknowledged, offset, flags = struct.unpack_from("!IIBB", packet, start + 4)
        octets = packet[start + (offset >> 4) * 4:size or len(packet)]  # 0: more than the field can say
        with self._changed:
            if flags & (SYN | ACK) == SYN:
                self._streams[ends[0]] = Stream(*ends)
                self._new.append(self._streams[ends[0]])
            elif flags & SYN and (begun := next((each for each in self._new if each.begins_at(acknowledged - 1)), None)):
                self._streams[ends[1]] = begun  # where the packet filter has changed the port that the client came from
            for back in (0, 1):
                if stream := self._streams.get(ends[back]):
                    stream.add(back, flags, sequence, octets)
                    break
            self._changed.notify_all()
