"""Mails and archives for the scanner's tests, made from nothing but the standard library."""
import base64
import bz2
import gzip
import io
import random
import struct
import zipfile
import zlib

PREFIX = b"Received: from gatepost by gatepost; Thu, 01 Jan 1970 00:00:00 +0000\r\n"
# In two pieces, so that no scanner takes this file for the test file.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def zipped(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, octets in members.items():
            archive.writestr(name, octets)
    return out.getvalue()


def encrypted_zip(name, octets, password=b"secret"):
    """One stored member under the traditional PKWARE encryption (APPNOTE.TXT 6.1)."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc_step(crc, octet):
        return ~zlib.crc32(bytes([octet]), ~crc & 0xFFFFFFFF) & 0xFFFFFFFF

    def update(octet):
        keys[0] = crc_step(keys[0], octet)
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc_step(keys[2], keys[1] >> 24)

    def encrypt(octet):
        temporary = (keys[2] | 2) & 0xFFFF
        stream = ((temporary * (temporary ^ 1)) >> 8) & 255
        update(octet)
        return octet ^ stream

    for octet in password:
        update(octet)
    crc = zlib.crc32(octets)
    body = bytes(encrypt(o) for o in random.Random(7).randbytes(11) + bytes([crc >> 24]) + octets)
    label = name.encode()
    common = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 0x21, crc, len(body), len(octets), len(label), 0)
    local = b"PK\3\4" + common + label + body
    central = b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + label
    return local + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def nested_zip(octets, levels):
    for level in range(levels):
        octets = zipped({f"{level}.zip": octets})
    return octets


def mail(*attachments, first=b"", text=b"hello\r\n"):
    """Content (without PREFIX) of a mail with attachments of (name, octets)."""
    head = first + b"From: a@example.org\r\nTo: b@example.org\r\nSubject: test\r\nMIME-Version: 1.0\r\n"
    if not attachments:
        return head + b"\r\n" + text
    out = head + b'Content-Type: multipart/mixed; boundary="edge"\r\n\r\n--edge\r\nContent-Type: text/plain\r\n\r\n' + text
    for name, octets in attachments:
        out += b'\r\n--edge\r\nContent-Type: application/octet-stream; name="%s"\r\n' % name
        out += b'Content-Disposition: attachment; filename="%s"\r\nContent-Transfer-Encoding: base64\r\n\r\n' % name
        out += base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return out + b"\r\n--edge--\r\n"


def nested_messages(content, levels):
    for _ in range(levels):
        content = b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n" + content
    return content


def nested_multiparts(part, levels):
    for level in range(levels):
        part = b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n%s\r\n--b%d--\r\n' % (level, level, part, level)
    return b"From: a@example.org\r\nMIME-Version: 1.0\r\n" + part


def gzipped(octets):
    return gzip.compress(octets)


def bzipped(octets):
    return bz2.compress(octets)
