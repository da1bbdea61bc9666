"""strace on a process that runs: to see its system calls, or to let some of them fail."""
import os
import re
import select
import subprocess

from peers import PATIENCE


class Traced:
    """strace on all threads of a process, or on its first alone; a context, `report` holds its lines afterwards."""

    def __init__(self, pid, file, *expressions, threads=True):
        self.file = file
        self.report = ""
        arguments = [item for expression in expressions for item in ("-e", expression)]
        self.process = subprocess.Popen(["strace", *(["-f"] if threads else []), "-p", str(pid), "-o", file, *arguments],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        count = len(os.listdir(f"/proc/{pid}/task"))
        said = b""
        while not re.search(rb"attached with %d threads|attached\n" % count, said):
            if not select.select([self.process.stderr], [], [], PATIENCE)[0]:
                raise AssertionError(f"strace does not attach: {said!r}")
            piece = os.read(self.process.stderr.fileno(), 4096)
            if not piece:
                raise AssertionError(f"strace ended: {said!r}")
            said += piece

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.process.stderr.close()
        with open(self.file) as lines:
            self.report = lines.read()
