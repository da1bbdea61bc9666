"""Python's smtplib as a client."""
import smtplib
import ssl

from common import PATIENCE

from .client import Command
from .letter import NotApplicable, Outcome
from .submit import say_envelope


class Smtplib(Command):
    name = "smtplib"
    lacks = {"chunking": "BDAT"}

    def transmit(self, letter):
        try:
            with smtplib.SMTP("127.0.0.1", self.target, local_hostname="client.example", timeout=PATIENCE * 3) as client:
                if letter.tls:
                    client.starttls(context=ssl._create_unverified_context())
                say_envelope(client, letter)
                code, text = client.data(letter.content)
                return Outcome(code == 250, f"{code} {text.decode('utf-8', 'replace')}")
        except smtplib.SMTPNotSupportedError as missing:
            raise NotApplicable(str(missing)) from None
        except (smtplib.SMTPException, OSError) as error:
            return Outcome(False, str(error)[:200])
