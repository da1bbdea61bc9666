"""What the clients that are commands have in common: made with the port that they shall talk to, nothing to end."""
import subprocess

from common import PATIENCE

from .letter import NotApplicable, Outcome


class Command:
    """A subclass sets `name`, `lacks` ({attribute of a Letter: what the client has none of}) and has transmit()."""
    protocol = "smtp"
    lacks = {}

    def __init__(self, place, target):
        self.target = target
        self.file = place / f"{self.name}-message"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def send(self, letter):
        for attribute, what in self.lacks.items():
            if getattr(letter, attribute):
                raise NotApplicable(f"{self.name} has no {what}")
        return self.transmit(letter)

    @staticmethod
    def run(*command, feed=b"", environment=None):
        done = subprocess.run(command, input=feed, capture_output=True, env=environment, timeout=PATIENCE * 3)
        return Outcome(done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace").strip()[-300:])
