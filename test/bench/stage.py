"""The processes of a benchmark: sink, HAProxy, gatepost, load generator, bare scan loop. Each is a plain child with its
own files below one temporary directory, and is ended by its process id."""
import contextlib
import ctypes
import json
import os
import pathlib
import resource
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import measure

HAPROXY_CONFIG = """global
    nbthread {threads}
    maxconn 9000
defaults
    mode tcp
    timeout connect 10s
    timeout client 600s
    timeout server 600s
frontend clients
    bind 127.0.0.1:{port}{tls}
    default_backend sink
backend sink
    server sink 127.0.0.1:{sink}
"""
# With a full handshake OpenSSL gives two tickets, gatepost one; HAProxy has no setting for it.
OPENSSL_CONFIG = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
NumTickets = 1
"""
PROBE = b"From: probe@sender.example\r\nSubject: probe\r\n\r\nprobe\r\n"
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n"
USERS = {"proxy": 64201, "keeper": 64202, "scanner": 64203, "gate": 64204}  # as root: numbers without accounts
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """The benchmark cannot go on; the text is for the one who ran it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Child:
    def __init__(self, argv, cpus, log, environment, before=lambda: None):
        def prepare():
            before()
            _libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: no child outlives the benchmark
            os.sched_setaffinity(0, cpus)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

        self.name = os.path.basename(argv[0])
        self.log_name = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
                                            preexec_fn=prepare, text=True, env={**os.environ, **environment})
        self.pid = self.process.pid

    def log_tail(self):
        with open(self.log_name, "r", errors="replace") as log:
            return "".join(log.readlines()[-8:])

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            self.process.wait(timeout=30)
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
        return text

    def tell(self, text="\n"):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def stop(self):
        """TERM, then KILL for what is left of the tree after 20 seconds."""
        if self.process.poll() is None:
            pids = measure.tree(self.pid)
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                print(f"  {self.name} did not end on TERM: killed", file=sys.stderr)
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.wait(timeout=20)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


class Stage:
    """Use as a context: at its end every child is gone and the temporary directory removed."""

    def __init__(self, options):
        self.options = options
        available = sorted(os.sched_getaffinity(0))
        everywhere = set(available)
        pinned = options.pin and len(available) > 1
        self.everywhere = everywhere
        self.load_cpus = {available[0]} if pinned else everywhere
        self.proxy_cpus = set(available[1:1 + options.loops]) if pinned else everywhere
        self.children = []
        self.directory = tempfile.mkdtemp(prefix="gatepost-bench-", dir=options.directory)
        os.chmod(self.directory, 0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_everything()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, argv, cpus, label, inside=None, **environment):
        """`inside`: a network namespace (test/e2e/firewall_world.py)."""
        before = inside.enter if inside else lambda: None
        child = Child([str(part) for part in argv], cpus, os.path.join(self.directory, label + ".log"), environment, before)
        self.children.append(child)
        return child

    def stop(self, child):
        child.stop()
        self.children.remove(child)

    def stop_everything(self):
        while self.children:
            self.children.pop().stop()

    @contextlib.contextmanager
    def unpinned(self):
        """Children started inside run wherever the kernel puts them."""
        pinned = self.load_cpus, self.proxy_cpus
        self.load_cpus = self.proxy_cpus = self.everywhere
        try:
            yield
        finally:
            self.load_cpus, self.proxy_cpus = pinned

    def tool(self, name):
        return os.path.join(self.options.tools, name)

    def sink(self):
        child = self.start([self.tool("smtp_sink")], self.load_cpus, "sink")
        child.port = int(child.line().split()[1])
        return child

    @staticmethod
    def sink_counts(sink):
        sink.tell()
        return json.loads(sink.line())

    def certificate(self):
        """Certificate and key in PEM (EC P-256), made once: two files, and one that holds both."""
        names = [os.path.join(self.directory, name) for name in ("certificate.pem", "key.pem", "both.pem")]
        if not os.path.exists(names[2]):
            made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                                   "-nodes", "-days", "2", "-subj", "/CN=gatepost.example", "-out", names[0],
                                   "-keyout", names[1]], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if made.returncode != 0:
                raise Failed(f"openssl made no certificate: {made.stderr}")
            with open(names[2], "w") as out:
                for name in names[:2]:
                    with open(name) as part:
                        out.write(part.read())
        return names

    def haproxy(self, sink, tls=False):
        port = free_port()
        file, openssl = (os.path.join(self.directory, name) for name in ("haproxy.cfg", "openssl.cnf"))
        terminates = f" ssl crt {self.certificate()[2]} ssl-min-ver TLSv1.3" if tls else ""
        with open(file, "w") as out:
            out.write(HAPROXY_CONFIG.format(threads=self.options.loops, port=port, sink=sink.port, tls=terminates))
        with open(openssl, "w") as out:
            out.write(OPENSSL_CONFIG)
        child = self.start([self.options.haproxy, "-db", "-q", "-f", file], self.proxy_cpus, "haproxy",
                           OPENSSL_CONF=openssl)
        child.port = port
        self.wait_for(child, 20, tls)
        return child

    def gatepost(self, sink, scanning, downstream=None, tls=False):
        port = free_port()
        own = tempfile.mkdtemp(prefix="gatepost-", dir=self.directory)
        os.chmod(own, 0o755)
        config = {
            "hostname": "gatepost.example", "loops": self.options.loops, "state_directory": own + "/state",
            "listeners": [{"name": "bench", "protocol": "smtp", "address": f"127.0.0.1:{port}", "downstream": "sink"}],
            "downstreams": {"sink": {"protocol": "smtp", "servers": [f"127.0.0.1:{sink.port}"], **(downstream or {})}},
            "spool": {"directory": own + "/spool"}, "log": {"to": "stderr"},
        }
        if tls:
            certificate, key, _ = self.certificate()
            config["listeners"][0]["tls"] = {"mode": "implicit", "minimum": "1.3",
                                             "certificates": [{"certificate": certificate, "key": key}]}
        owners = {"state": None, "spool": None}
        if os.getuid() == 0:
            config["users"] = {role: str(number) for role, number in USERS.items()}
            owners = {"state": USERS["keeper"], "spool": USERS["proxy"]}
        for name, owner in owners.items():
            os.mkdir(os.path.join(own, name), 0o700)
            if owner is not None:
                os.chown(os.path.join(own, name), owner, owner)
        if scanning:
            config["scanners"] = {"clamav": {"engine": "libclamav", "signatures": self.options.signatures,
                                             "workers": self.options.workers}}
        file = os.path.join(own, "gatepost.json")
        with open(file, "w") as out:
            json.dump(config, out, indent=2)
        child = self.start([self.options.gatepost, "serve", "-c", file], self.proxy_cpus, os.path.basename(own))
        child.port = port
        self.wait_for(child, 60, tls)
        if scanning:
            self.check_scans(child)
        return child

    def intercepting(self, where, listener, downstreams, firewall):
        """gatepost in a network namespace, before a server that the client means; it is ready. place: its files."""
        own = tempfile.mkdtemp(prefix="gatepost-", dir=self.directory)
        os.chmod(own, 0o755)
        config = {"hostname": "gatepost.example", "loops": self.options.loops, "state_directory": own + "/state",
                  "listeners": [{"name": "bench", **listener}], "downstreams": downstreams, "firewall": firewall,
                  "spool": {"directory": own + "/spool"}, "log": {"to": "stderr"},
                  "users": {role: str(number) for role, number in USERS.items()}}
        with open(own + "/gatepost.json", "w") as out:
            json.dump(config, out, indent=2)
        child = self.start([self.options.gatepost, "serve", "-c", own + "/gatepost.json", "--ready-fd", "1"], self.proxy_cpus,
                           os.path.basename(own), where)
        child.place = pathlib.Path(own)
        child.line()
        return child

    @staticmethod
    def check_scans(child):
        """A scan that does not scan would be a fine figure."""
        try:
            with smtplib.SMTP("127.0.0.1", child.port, timeout=30) as client:
                client.sendmail("probe@sender.example", ["probe@recipient.example"], b"Subject: probe\r\n\r\n" + EICAR)
        except smtplib.SMTPDataError as error:
            if error.smtp_code == 550:
                return
            raise Failed(f"{child.name} answers {error} to the EICAR test file") from error
        raise Failed(f"{child.name} accepts the EICAR test file: it does not scan")

    @staticmethod
    def wait_for(child, seconds, tls=False):
        """Until a whole message passes: the ports are bound, the sink is reached, the signatures are loaded."""
        def client():
            if not tls:
                return smtplib.SMTP("127.0.0.1", child.port, timeout=10)
            return smtplib.SMTP_SSL("127.0.0.1", child.port, timeout=10, context=ssl._create_unverified_context())

        deadline, last = time.monotonic() + seconds, "nothing"
        while time.monotonic() < deadline:
            if child.process.poll() is not None:
                raise Failed(f"{child.name} ended with {child.process.returncode}:\n{child.log_tail()}")
            try:
                with client() as connection:
                    connection.sendmail("probe@sender.example", ["probe@recipient.example"], PROBE)
                    return
            except (OSError, smtplib.SMTPException) as error:
                last = error
            time.sleep(0.05)
        raise Failed(f"{child.name} does not take mail after {seconds} s: {last}\n{child.log_tail()}")

    def load(self, port, *arguments):
        """A load generator that runs; finish(child) has its figures."""
        return self.start([self.tool("smtp_load"), "--to", f"127.0.0.1:{port}", *arguments], self.load_cpus, "load")

    def finish(self, child, seconds=300):
        try:
            text = child.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            raise Failed(f"{child.name} did not end within {seconds} s") from None
        self.children.remove(child)
        if child.process.returncode != 0:
            raise Failed(f"{child.name} ended with {child.process.returncode}: {text}{child.log_tail()}")
        return json.loads(text.strip().splitlines()[-1])

    def bare_scan(self, *arguments):
        signatures = [part for place in self.options.signatures for part in ("--signatures", place)]
        return self.finish(self.start([self.tool("bare_scan"), *signatures, *arguments], self.proxy_cpus, "bare"))
