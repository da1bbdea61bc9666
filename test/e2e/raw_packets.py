"""TCP packets, made by hand, from a network of firewall_world.py."""
import socket
import struct

from firewall_world import FAMILY

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
SIGNED = b"\x13\x12" + bytes(16) + b"\x01\x01"  # TCP-MD5: whoever expects none drops the packet, and says nothing


def checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def send_packet(where, version, source, target, flags, port=25, source_port=None, options=b""):
    """A TCP packet that no client of this system would send."""
    ends = socket.inet_pton(FAMILY[version], source) + socket.inet_pton(FAMILY[version], target)
    header = struct.pack("!HHIIBBHHH", source_port or 40000 + flags, port, 1, 0, (5 + len(options) // 4) << 4, flags, 65535, 0, 0)
    header += options
    pseudo = ends + (struct.pack("!BBH", 0, 6, len(header)) if version == 4 else struct.pack("!IHBB", len(header), 0, 0, 6))
    header = header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]
    with where.inside():
        raw = socket.socket(FAMILY[version], socket.SOCK_RAW, socket.IPPROTO_TCP)
    with raw:
        raw.bind((source, 0))
        raw.sendto(header, (target, 0))
