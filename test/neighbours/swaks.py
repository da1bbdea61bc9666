"""swaks as a client."""
from common import PATIENCE

from .client import Command
from .packages import program


class Swaks(Command):
    name = "swaks"
    lacks = {"dsn": "DSN parameters", "utf8": "SMTPUTF8", "chunking": "BDAT"}

    def __init__(self, place, target):
        super().__init__(place, target)
        self.program = program("swaks")

    def transmit(self, letter):
        with open(self.file, "wb") as out:
            out.write(letter.content.removesuffix(b"\r\n"))  # it ends the last line itself
        return self.run(self.program, "--server", "127.0.0.1", "--port", str(self.target), "--ehlo", "client.example", "--from",
                        letter.sender, "--to", ",".join(letter.recipients), "--data", "@" + self.file,
                        "--suppress-data", "--timeout", f"{PATIENCE}s", *(["--tls"] if letter.tls else []))
