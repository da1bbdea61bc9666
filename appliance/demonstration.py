#!/usr/bin/env python3
"""Starts gatepost with its embedded defaults, sends it one clean and two infected messages, and shows what came of them.

Called by quickstart. Exit status: 0 all three ended as they should (or, without --once, Ctrl-C after that), 1 one did
not, otherwise gatepost's own.
"""
import argparse
import base64
import ctypes
import fcntl
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import threading

TEST_FILE = "/usr/share/clamav-testfiles/clam.zip"
# In two pieces, so that no scanner takes this script for the test file.
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SENDER, RECIPIENT = "newcomer@example.org", "you@example.org"
HEADER = "From: <{0}>\r\nTo: <{1}>\r\nSubject: {2}\r\nMessage-ID: <{3}@quickstart.example>\r\nMIME-Version: 1.0\r\n"
COLOUR = sys.stdout.isatty()


def coloured(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def clean_message(number):
    return HEADER.format(SENDER, RECIPIENT, "Hello", number) + "\r\nHello, this message is clean.\r\n"


def eicar_message(number):
    return HEADER.format(SENDER, RECIPIENT, "EICAR", number) + "\r\n" + EICAR + "\r\n"


def zip_message(number):
    with open(TEST_FILE, "rb") as file:
        attachment = base64.encodebytes(file.read()).decode().replace("\n", "\r\n")
    return (HEADER.format(SENDER, RECIPIENT, "A zip file", number) +
            'Content-Type: multipart/mixed; boundary="part"\r\n\r\n--part\r\n\r\nSee the attachment.\r\n--part\r\n'
            'Content-Type: application/zip; name="clam.zip"\r\nContent-Transfer-Encoding: base64\r\n'
            'Content-Disposition: attachment; filename="clam.zip"\r\n\r\n' + attachment + "--part--\r\n")


class Gatepost:
    """The running program; its log is kept back until follow()."""

    def __init__(self, program, state):
        ready_read, ready_write = os.pipe()
        # A session of its own: Ctrl-C is for us, and we ask it to drain.
        self.process = subprocess.Popen(
            [program, "serve", "--state", state, "--ready-fd", str(ready_write)], pass_fds=[ready_write],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, text=True, errors="replace",
            preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM))  # PR_SET_PDEATHSIG
        os.close(ready_write)
        self.lines, self.following = [], False
        self.lock, self.begun = threading.Lock(), threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        with open(ready_read) as ready:
            told = ready.readline()
        if not told:
            status = self.process.wait()
            self.reader.join()
            self.follow()
            sys.exit(status or 1)
        self.addresses = [each["address"] for each in json.loads(told)["listeners"]]

    def _read(self):
        for line in self.process.stderr:
            with self.lock:
                self.lines.append(line.rstrip("\n"))
                if self.following:
                    print(self.lines[-1], flush=True)
            if "gatepost is serving" in line:  # behind its warnings
                self.begun.set()
        self.begun.set()

    def warnings(self):
        """What it says aloud at the start: a taken port, no IPv6, signatures that protect nobody."""
        whole = self.begun.wait(60)
        with self.lock:
            told = [line.split("warning: ", 1)[1].replace('\\"', '"') for line in self.lines if "warning: " in line]
        return told if whole else [*told, "there may be more in the log, which is not written that far yet"]

    def follow(self):
        """From now on the log goes to the terminal; at the end all that was not shown."""
        with self.lock:
            self.following = True
            if self.process.poll() is not None:
                print("\n".join(self.lines), file=sys.stderr)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait()
        self.reader.join()
        return status


def send(address, content):
    """(code, text) of the reply that decided."""
    host, port = re.fullmatch(r"\[?([^\]]*)\]?:(\d+)", address).groups()
    try:
        with smtplib.SMTP(host, int(port), local_hostname="newcomer.example", timeout=300) as client:
            client.ehlo()
            client.mail(SENDER)
            code, text = client.rcpt(RECIPIENT)
            if code == 250:
                code, text = client.data(content)
            return code, text.decode("utf-8", "replace")
    except (OSError, smtplib.SMTPException) as error:
        return 0, f"{type(error).__name__}: {error}"


def stored_message(directory, number):
    """The file that holds the message with this Message-ID, if one does."""
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, encoding="utf-8", errors="replace") as file:
                if os.path.basename(parent) == "new" and f"<{number}@quickstart.example>" in file.read():
                    return path
    return None


def demonstrate(gatepost, state):
    """True when the clean message lies in its mailbox and neither of the others does."""
    started = f"{os.getpid()}.{os.urandom(4).hex()}"
    cases = [("a clean message", clean_message, 250), ("the EICAR test file as text", eicar_message, 550),
             ("ClamAV's test file in a zip attachment", zip_message, 550)]
    good, where = True, None
    for index, (what, make, expected) in enumerate(cases, 1):
        number = f"{index}.{started}"
        address = gatepost.addresses[(index - 1) % len(gatepost.addresses)]
        code, text = send(address, make(number))
        path = stored_message(os.path.join(state, "mail"), number)
        as_it_should = code == expected and (path is not None) == (expected == 250)
        good = good and as_it_should
        where = path if expected == 250 else where
        mark = coloured("as it should", 32) if as_it_should else coloured(f"WRONG, expected {expected}", 31)
        print(f"  {index}. sent {what} to {address}\n     was told: {code} {text}   ({mark})", flush=True)
    print(f"  The clean message lies at {where or 'NO PLACE: it is not stored'}", flush=True)
    return good


def take(state):
    """A descriptor of the directory, made when missing, with a shared lock: quickstart --clean looks at it."""
    try:
        os.makedirs(state, exist_ok=True)
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        print(f"There is no place for mail: {state} cannot be made or used: {error.strerror}. Name another directory in "
              "XDG_STATE_HOME", file=sys.stderr)
        sys.exit(78)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gatepost", required=True)
    parser.add_argument("--state", required=True)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    if not os.path.exists(TEST_FILE):
        sys.exit(f"{TEST_FILE} is missing: install clamav-testfiles")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    in_use = take(options.state)
    gatepost = Gatepost(os.path.abspath(options.gatepost), options.state)
    status = 1
    try:
        print(coloured("gatepost serves on " + " and ".join(gatepost.addresses), 1) + f"; its files: {options.state}")
        for warning in gatepost.warnings():
            print(coloured(f"  note: {warning}", 33))
        status = 0 if demonstrate(gatepost, options.state) else 1
        if not options.once:
            print("It goes on serving; its log follows. Ctrl-C ends it; appliance/quickstart --clean removes its files.",
                  flush=True)
            gatepost.follow()
            gatepost.process.wait()
            status = gatepost.process.returncode or 1
    except KeyboardInterrupt:
        print("\nEnding", flush=True)
    ended = gatepost.stop()
    os.close(in_use)
    return status or ended


if __name__ == "__main__":
    sys.exit(main())
