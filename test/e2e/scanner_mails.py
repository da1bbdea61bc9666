"""Mails and archives for the scanner's tests, made from nothing but the standard library."""
import base64
import bz2
import gzip
import hashlib
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


def _rc4(key, octets):
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 255
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for octet in octets:
        i = (i + 1) & 255
        j = (j + state[i]) & 255
        state[i], state[j] = state[j], state[i]
        out.append(octet ^ state[(state[i] + state[j]) & 255])
    return bytes(out)


def encrypted_pdf(stream, user_password=b"secret"):
    """One page whose contents are `stream`, deflated, under the standard security handler with 40-bit RC4 (ISO 32000-1, 7.6.3). An
    empty user password is what readers try by themselves: everybody can open such a file."""
    padding = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")

    def padded(password):
        return (password + padding)[:32]

    owner = _rc4(hashlib.md5(padded(b"owner")).digest()[:5], padded(user_password))
    permissions, number = -44, bytes(range(16))
    key = hashlib.md5(padded(user_password) + owner + struct.pack("<i", permissions) + number).digest()[:5]
    body = _rc4(hashlib.md5(key + b"\4\0\0\0\0").digest()[:10], zlib.compress(stream))  # object 4, generation 0
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R >>",
               b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(body), body),
               b"<< /Filter /Standard /V 1 /R 2 /Length 40 /P %d /O <%s> /U <%s> >>"
               % (permissions, owner.hex().encode(), _rc4(key, padding).hex().encode())]
    out, places = b"%PDF-1.4\n", []
    for index, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (index, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    identity = number.hex().encode()
    return out + (b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R /Encrypt 5 0 R /ID [<%s> <%s>] >>\n"
                  b"startxref\n%d\n%%%%EOF\n" % (table, identity, identity, len(out)))


def zip_bomb(members, member_size):
    """`members` files of `member_size` zeros each (a multiple of 1 MiB, below 4 GiB), deflated to a thousandth, made
    without compressing all of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    later = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    body = first + later * (member_size // len(block) - 1) + packer.flush()
    locals_, central = [], []
    place = 0
    for index in range(members):
        name = b"%04d" % index
        common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, 0, len(body), member_size, len(name), 0)
        locals_.append(b"PK\3\4" + common + name + body)
        central.append(b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, place) + name)
        place += len(locals_[-1])
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, members, members, sum(map(len, central)), place, 0)
    return b"".join(locals_ + central) + end


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
