"""The harness' own client, which can do all that SMTP and LMTP allow: it measures what a server takes by itself."""
import re

from peers import Wire

from .client import Command
from .letter import Outcome
from .submit import mail_options, rcpt_options


class Refused(Exception):
    pass


class Plain(Command):
    """Speaks plain text only."""
    name = "plain"
    lacks = {"tls": "TLS"}

    def __init__(self, place, target, protocol):
        super().__init__(place, target)
        self.protocol = protocol

    def transmit(self, letter):
        with Wire(self.target) as wire:
            try:
                self._transmit(wire, letter)
            except Refused as refused:
                return Outcome(False, str(refused))
            finally:
                wire.say(b"QUIT")
        return Outcome(True, "")

    def _transmit(self, wire, letter):
        self._want(wire.reply(), 220)
        offered = self._want(wire.say((b"LHLO" if self.protocol == "lmtp" else b"EHLO") + b" client.example"), 250)
        options = [each for each in mail_options(letter) if self._keyword(each) in offered]
        self._want(wire.say(f"MAIL FROM:<{letter.sender}> {' '.join(options)}".strip().encode()), 250)
        for recipient in letter.recipients:
            more = rcpt_options(letter, recipient) if b"DSN" in offered else []
            self._want(wire.say(f"RCPT TO:<{recipient}> {' '.join(more)}".strip().encode()), 250)
        if letter.chunking and b"CHUNKING" in offered:
            wire.send(b"BDAT %d LAST\r\n" % len(letter.content) + letter.content)
        else:
            self._want(wire.say(b"DATA"), 354)
            wire.send(re.sub(rb"^\.", b"..", letter.content, flags=re.M) + b".\r\n")
        for _ in letter.recipients if self.protocol == "lmtp" else [None]:
            self._want(wire.reply(), 250)

    @staticmethod
    def _keyword(option):
        name = option.split("=")[0]
        return {"BODY": "8BITMIME", "RET": "DSN", "ENVID": "DSN"}.get(name, name).encode()

    @staticmethod
    def _want(reply, code):
        if reply[0] != code:
            raise Refused(reply[1].decode("utf-8", "replace"))
        return reply[1]
