"""OpenSMTPD as a server. Without TLS: Debian 12's 6.8.0p2 fails every handshake with OpenSSL 3 (its issue 1171)."""
import os

from .jail import Jail, JailedServer
from .letter import Maildrop

CONFIG = """table everybody {{ "@" = sink }}
smtp max-message-size "60M"
listen on 127.0.0.1 port {port} hostname mta.example
action "drop" maildir "{place}/mail" virtual <everybody>
match from any for domain "example.org" action "drop"
"""


class OpenSmtpd(JailedServer):
    name = "opensmtpd"
    protocol = "smtp"
    packages = ("opensmtpd",)

    def configure(self):
        self.make("mail", "sink")
        self.mail = Maildrop(self.directory + "/mail", r"/new/[^/]+$")
        jail = Jail(self.directory, self.packages, binds=("/var/spool", "/var/lib", "/run"), files={
            "smtpd.conf": CONFIG.format(place=self.directory, port=self.port)})
        os.makedirs(jail.bound("/var/lib") + "/opensmtpd/empty")
        os.mkdir(jail.bound("/var/spool") + "/smtpd")
        os.chmod(jail.bound("/var/spool") + "/smtpd", 0o711)
        return jail, "/usr/sbin/smtpd", "-d"
