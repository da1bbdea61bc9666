"""A mail server of a package that is only unpacked, run where it believes itself installed: namespaces of its own for
mounts and processes, /usr with the package laid over it, /etc with the files and accounts that it expects."""
import contextlib
import glob
import os
import shutil
import socket
import subprocess

from common import PATIENCE, die_with_parent, wait_until
from ports import free_port

from .letter import certificate
from .packages import Unavailable, unpacked

# uid = gid of the accounts that the packages would have made; mail lands with the sink's.
ACCOUNTS = {"Debian-exim": 64120, "opensmtpd": 64121, "opensmtpq": 64122, "smmta": 64123, "smmsp": 64124,
            "dovecot": 64125, "dovenull": 64126, "cyrus": 64127, "sink": 64128}
HOSTS = "127.0.0.1 localhost mta.example\n::1 localhost ip6-localhost\n"
# Nobody answers there, which the kernel tells at once: no name is looked up beyond this host.
RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


class Jail:
    """`files` are laid over /etc (name -> text), `binds` are directories of the host that get a private one instead."""

    def __init__(self, directory, packages, files=None, binds=()):
        if not shutil.which("unshare"):
            raise Unavailable("unshare is not installed")
        self.directory = directory
        self._mounts = [self._overlay("/usr", [os.path.join(each, "usr") for each in unpacked(*packages)])]
        self.etc = etc = os.path.join(directory, "jail-etc")
        for name, text in {**self._accounts(), "hosts": HOSTS, "resolv.conf": RESOLVER, "mailname": "mta.example\n",
                           "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n", **(files or {})}.items():
            os.makedirs(os.path.dirname(os.path.join(etc, name)), exist_ok=True)
            with open(os.path.join(etc, name), "w") as out:
                out.write(text)
        self._mounts.append(self._overlay("/etc", [etc]))
        for place in binds:
            private = os.path.join(directory, "jail" + place.replace("/", "-"))
            os.mkdir(private)
            self._mounts.append(f"mount --bind {private} {place}")

    @staticmethod
    def _overlay(place, above):
        return f"mount -t overlay overlay -o ro,lowerdir='{':'.join([*above, place])}' {place}"

    @staticmethod
    def _accounts():
        with open("/etc/passwd") as users, open("/etc/group") as groups:
            passwd, group = users.read(), groups.read()
        for name, number in ACCOUNTS.items():
            passwd = f"{name}:x:{number}:{number}::/nonexistent:/bin/sh\n" + passwd  # before one that this host may have
            group = f"{name}:x:{number}:\n" + group
        return {"passwd": passwd, "group": group}

    def bound(self, place):
        """Where the private directory lies that stands in for `place`."""
        return os.path.join(self.directory, "jail" + place.replace("/", "-"))

    def command(self, *program):
        # The shell stays: as the first of its process namespace it takes all others along when it ends, and unlike a
        # server that changes its account it keeps the signal that it gets when its parent ends. Nobody here keeps mail for
        # longer than the test, so nothing is synced to the disk.
        script = "\n".join(["set -e", *self._mounts, 'LD_PRELOAD=libeatmydata.so "$@"', "exit $?"])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", *program]

    def run(self, *program, feed=None):
        done = subprocess.run(self.command(*program), input=feed, capture_output=True, timeout=PATIENCE * 2)
        if done.returncode != 0:
            raise AssertionError(f"{program[0]} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout


class Daemon:
    """A program in a jail; all it starts ends with it, since the first of a process namespace takes the others along."""

    def __init__(self, jail, *program):
        self.output = os.path.join(jail.directory, "output")
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(jail.command(*program), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True, preexec_fn=die_with_parent)

    def said(self):
        with open(self.output, errors="replace") as file:
            return file.read()

    def end(self):
        self.process.kill()
        self.process.wait()


class JailedServer:
    """A mail server in a jail: started, listening, ended. A subclass sets `name`, `protocol`, `packages` and has
    configure(), which returns the jail and the program with its arguments."""

    def __init__(self, place):
        self.directory = place / self.name
        os.mkdir(self.directory)
        os.chmod(self.directory, 0o755)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.certificate, self.key = certificate(self.directory)
        jail, *program = self.configure()
        self._daemon = Daemon(jail, *program)
        try:
            wait_until(self._answers, f"{self.name} answers on {self.address}")
        except BaseException as error:
            self._daemon.end()
            error.args = (f"{error}\n{self.log()}",)
            raise

    def make(self, name, account=None):
        """A directory of that account below its own."""
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        if account:
            os.chown(path, ACCOUNTS[account], ACCOUNTS[account])
        return path

    def _answers(self):
        if self._daemon.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self._daemon.process.returncode}")
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
                probe.sendall(b"QUIT\r\n")
                return probe.recv(4) == b"220 " or probe.recv(1) != b""
        return False

    def take(self, letter, seconds=PATIENCE):
        """What arrived of it, see Maildrop."""
        return self.mail.take(letter.token, len(letter.recipients), seconds)

    def log(self):
        """The end of whatever it wrote, for messages of failed tests."""
        texts = [self._daemon.said()]
        for path in glob.glob(os.path.join(self.directory, "log*")):
            with contextlib.suppress(OSError), open(path, errors="replace") as file:
                texts.append(file.read())
        return "\n".join(text[-3000:] for text in texts)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._daemon.end()
