"""An authoritative name server of the test's own: nsd on a loopback port, with zones that the test writes and changes."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from common import die_with_parent, wait_until
from peers import PATIENCE
from ports import free_port

PROGRAMS = ("nsd", "ldns-keygen", "ldns-signzone")


def missing():
    """The programs that are not installed."""
    path = os.environ["PATH"] + ":/usr/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


def port_for_both():
    """Free for UDP and TCP."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", port))
            return port


class NameServer:
    """`zones`: name -> records, one a line, owners relative to the zone; SOA and NS are added."""

    def __init__(self, directory, zones=None, denial_ttl=77):
        self.directory = directory
        self.denial_ttl = denial_ttl
        os.makedirs(directory, exist_ok=True)
        self.port = port_for_both()
        self.address = f"127.0.0.1:{self.port}"
        self.zones = dict(zones or {})
        self.serial = int(time.time())
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def file_of(self, zone):
        return os.path.join(self.directory, zone + "zone")

    def write(self, zone, records):
        self.serial += 1
        self.zones[zone] = records
        text = (f"$ORIGIN {zone}\n$TTL 60\n@ 300 IN SOA ns.{zone} admin.{zone} {self.serial} 3600 600 86400 {self.denial_ttl}\n"
                f"@ IN NS ns\nns IN A 127.0.0.1\n{records}\n")
        with open(self.file_of(zone) + ".new", "w") as out:
            out.write(text)
        os.replace(self.file_of(zone) + ".new", self.file_of(zone))

    def start(self):
        for zone, records in self.zones.items():
            if records is not None:
                self.write(zone, records)
        config = os.path.join(self.directory, "nsd.conf")
        with open(config, "w") as out:
            out.write(f'server:\n  ip-address: 127.0.0.1\n  port: {self.port}\n  username: ""\n  chroot: ""\n'
                      f'  zonesdir: "{self.directory}"\n  database: ""\n  pidfile: ""\n  server-count: 1\n'
                      f'  xfrdfile: "{self.directory}/xfrd"\n  zonelistfile: "{self.directory}/zonelist"\n'
                      f'  xfrdir: "{self.directory}"\n  zonefiles-check: yes\n  minimal-responses: yes\n'
                      '  do-ip6: no\nremote-control:\n  control-enable: no\n')
            for zone in self.zones:
                out.write(f'zone:\n  name: {zone}\n  zonefile: "{self.file_of(zone)}"\n')
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", config], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log, preexec_fn=die_with_parent)
        wait_until(self.answers, f"nsd answers; what it said is in {self.log}")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"nsd ended with {self.process.returncode}: {self.said()}")
        return self.serial_of(next(iter(self.zones))) is not None

    @property
    def log(self):
        return os.path.join(self.directory, "nsd.log")

    def said(self):
        with open(self.log) as file:
            return file.read()[-2000:]

    def stop(self):
        """nsd ends its children itself."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def change(self, zone, records):
        """Returns once the new records are served."""
        self.write(zone, records)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.serial_of(zone) == self.serial, f"nsd serves serial {self.serial}; " + self.said())

    def serial_of(self, zone):
        """As it is served; None: no answer."""
        name = b"".join(bytes([len(label)]) + label for label in zone.rstrip(".").encode().split(b".")) + b"\0"
        query = b"\x12\x34\0\0\0\1\0\0\0\0\0\0" + name + b"\0\6\0\1"
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(0.5)
            try:
                client.sendto(query, ("127.0.0.1", self.port))
                answer = client.recv(4096)
            except OSError:
                return None
        if answer[6:8] != b"\0\1":
            return None
        numbers = answer[len(query):][-400:]
        at = numbers.find((3600).to_bytes(4, "big") + (600).to_bytes(4, "big") + (86400).to_bytes(4, "big"))
        return int.from_bytes(numbers[at - 4:at], "big") if at >= 4 else None

    def sign(self, zone, records, *options):
        """A zone with keys of its own; returns its trust anchor, a line with a DNSKEY record. Before start()."""
        self.write(zone, records)
        self.zones[zone] = None  # its file is the signed one
        names = []
        for kind in (["-k"], []):
            done = subprocess.run(["ldns-keygen", *kind, "-a", "ECDSAP256SHA256", "-r", "/dev/urandom", zone.rstrip(".")],
                                  cwd=self.directory, capture_output=True, text=True, check=True)
            names.append(done.stdout.strip())
        subprocess.run(["ldns-signzone", *options, "-f", self.file_of(zone) + ".signed", self.file_of(zone), *names],
                       cwd=self.directory, check=True, capture_output=True)
        os.replace(self.file_of(zone) + ".signed", self.file_of(zone))
        with open(os.path.join(self.directory, names[0] + ".key")) as file:
            return re.sub(r";.*", "", file.read()).strip() + "\n"
