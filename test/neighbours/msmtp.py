"""msmtp as a client."""
from .client import Command
from .packages import program


class Msmtp(Command):
    name = "msmtp"
    lacks = {"chunking": "BDAT"}

    def __init__(self, place, target):
        super().__init__(place, target)
        self.program = program("msmtp")

    def transmit(self, letter):
        more = ["--dsn-notify=failure,success", "--dsn-return=headers"] if letter.dsn else []
        if letter.tls:
            more += ["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"]
        # It takes lines as a mail program hands them over, with LF alone.
        return self.run(self.program, "-C", "/dev/null", "--host=127.0.0.1", f"--port={self.target}", "--domain=client.example",
                        f"--from={letter.sender}", *more, "--", *letter.recipients,
                        feed=letter.content.replace(b"\r\n", b"\n"))
