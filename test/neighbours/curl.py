"""curl as a client."""
from .client import Command
from .packages import program


class Curl(Command):
    name = "curl"
    lacks = {"dsn": "DSN parameters", "chunking": "BDAT"}

    def __init__(self, place, target):
        super().__init__(place, target)
        self.program = program("curl")

    def transmit(self, letter):
        with open(self.file, "wb") as out:
            out.write(letter.content)
        return self.run(self.program, "--silent", "--show-error", "--url", f"smtp://127.0.0.1:{self.target}/client.example",
                        "--mail-from", letter.sender, *(word for each in letter.recipients for word in ("--mail-rcpt", each)),
                        "--upload-file", self.file, *(["--ssl-reqd", "--insecure"] if letter.tls else []))
