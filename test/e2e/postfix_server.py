"""A Postfix of the test's own: private configuration, queue and mailboxes, one loopback port, ended with the test."""
import contextlib
import os
import pwd
import shutil
import smtplib
import subprocess

from common import PATIENCE, die_with_parent, maildir_files, wait_until
from ports import free_port

MASTER = "/usr/lib/postfix/sbin/master"
MAILBOX_UID = 64110

MAIN = """compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {place}/maillog
maillog_file_prefixes = {place}
myhostname = mta.example
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
local_header_rewrite_clients =
virtual_mailbox_domains = example.org
virtual_mailbox_base = {place}/mail
virtual_mailbox_maps = static:all/
alias_maps =
alias_database =
local_recipient_maps =
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_mailbox_limit = 0
message_size_limit = 60000000
smtpd_recipient_limit = 2000
"""
SERVICES = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def available():
    return os.geteuid() == 0 and os.path.exists(MASTER)


def each_once(settings):
    """The last value of each. Postfix would take it too, but every program of it warns of the others when it starts, postlogd
    among them, which then waits for ever for room in its own socket if ten lines are there already."""
    last = {}
    for line in settings.splitlines(keepends=True):
        if line[0].isspace():
            last[name] += line
        else:
            name = line.split("=")[0].strip()
            last.pop(name, None)  # behind those that its value may name
            last[name] = line
    return "".join(last.values())


class Postfix:
    """`settings` and `services` are further lines of main.cf and master.cf; of two equal settings the later one counts."""

    def __init__(self, place, name="postfix", settings="", services=""):
        self.place = place
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.directory = place / name
        for each in ("", "/queue", "/data", "/mail", "/etc"):
            os.mkdir(self.directory + each)
        postfix = pwd.getpwnam("postfix")
        os.chown(self.directory + "/data", postfix.pw_uid, postfix.pw_gid)
        os.chown(self.directory + "/mail", MAILBOX_UID, MAILBOX_UID)
        self._write("etc/main.cf", each_once(MAIN.format(place=self.directory, uid=MAILBOX_UID) + settings))
        self._write("etc/master.cf", SERVICES.format(port=self.port) + services)
        shutil.copy("/etc/postfix/dynamicmaps.cf", self.directory + "/etc/")
        checked = subprocess.run(["postfix", "-c", self.directory + "/etc", "check"], stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=60)
        if checked.returncode != 0:
            raise AssertionError(f"postfix check: {checked.stdout}{checked.stderr}{self.log()}")
        self.process = subprocess.Popen([MASTER, "-c", self.directory + "/etc", "-d"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                        preexec_fn=die_with_parent)
        wait_until(self._answers, f"Postfix answers on {self.address}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()  # master ends its own children
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _write(self, name, text):
        with open(os.path.join(self.directory, name), "w") as out:
            out.write(text)

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"Postfix ended with {self.process.returncode}:\n{self.log()}")
        with contextlib.suppress(OSError, smtplib.SMTPException):
            with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as probe:
                return probe.noop()[0] == 250
        return False

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.directory + "/maillog", errors="replace") as file:
                return file.read()
        return ""

    def queued(self):
        """Every message file in the queue."""
        return [os.path.join(parent, name) for queue in ("incoming", "active", "deferred", "maildrop", "hold", "corrupt")
                for parent, _, names in os.walk(os.path.join(self.directory, "queue", queue)) for name in names]

    def mailbox(self, local_part):
        """What lies there for one recipient. One maildir holds all mail: a map that virtual(8) trusts names no other."""
        marker = b"\nDelivered-To: " + local_part.encode() + b"@example.org\n"
        return [each for each in maildir_files(self.directory + "/mail").values() if marker in each[:1000]]

    def delivered(self, local_part, count=1):
        """Contents of that many messages, once they are there."""
        wait_until(lambda: len(self.mailbox(local_part)) >= count,
                   f"{count} messages for {local_part} (there are {len(self.mailbox(local_part))})", 60)
        return self.mailbox(local_part)


def without_trace_fields(stored):
    """What Postfix was given: the stored message behind Return-Path, X-Original-To, Delivered-To and its Received."""
    rest = stored
    for name in (b"Return-Path:", b"X-Original-To:", b"Delivered-To:", b"Received: from"):
        if not rest.startswith(name):
            raise AssertionError(f"{name!r} expected before {rest[:200]!r}")
        _, rest = rest.split(b"\n", 1)
        while rest[:1] in (b" ", b"\t"):
            _, rest = rest.split(b"\n", 1)
    return rest
