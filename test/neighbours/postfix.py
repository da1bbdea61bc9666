"""Postfix: as a server (test/e2e/postfix_server.py), and as a client with relayhost or by its LMTP transport."""
import re
import subprocess

import postfix_server
from common import PATIENCE, wait_until

from .letter import Maildrop, Outcome, certificate
from .packages import Unavailable
from .submit import submit

SERVER = """smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
"""
# Every chance for long lines and many recipients; TLS only where the case asks for it.
CLIENT = """myhostname = client.example
virtual_mailbox_domains =
mynetworks = 127.0.0.0/8
default_transport = {protocol}
relayhost = [127.0.0.1]:{target}
transport_maps = inline:{{ {{ starttls@example.org = {protocol}-tls:[127.0.0.1]:{target} }}, {{ client.example = discard: }} }}
smtp_line_length_limit = 0
lmtp_line_length_limit = 0
smtp_connection_cache_on_demand = no
lmtp_connection_cache_on_demand = no
default_destination_recipient_limit = 1000
transport_retry_time = 1s
"""
TLS = "tlsmgr unix - - n 1000? 1 tlsmgr\n"
SERVICES = TLS + """lmtp unix - - n - - lmtp
smtp-tls unix - - n - - smtp -o smtp_tls_security_level=encrypt
discard unix - - n - - discard
lmtp-tls unix - - n - - lmtp -o lmtp_tls_security_level=encrypt
"""


def need():
    if not postfix_server.available():
        raise Unavailable("needs root and Postfix")


class PostfixServer(postfix_server.Postfix):
    name = "postfix"
    protocol = "smtp"

    def __init__(self, place, settings="", services=""):
        need()
        made = certificate(place.path)
        super().__init__(place, settings=SERVER.format(certificate=made[0], key=made[1]) + settings, services=TLS + services)
        self.mail = Maildrop(self.directory + "/mail", r"/new/[^/]+$")

    def take(self, letter, seconds=PATIENCE):
        return self.mail.take(letter.token, len(letter.recipients), seconds)


class PostfixClient(postfix_server.Postfix):
    name = "postfix"
    protocol = "smtp"

    def __init__(self, place, target):
        need()
        super().__init__(place, name=self.name + "-client", services=SERVICES,
                         settings=CLIENT.format(target=target, protocol=self.protocol))

    def send(self, letter):
        try:
            queue_id = re.search(r"queued as (\w+)", submit(self.port, letter))[1]
        except OSError as error:
            raise AssertionError(f"{self.name} as a client did not take {letter.case}: {error}\n{self.log()[-3000:]}") from error

        def finished():
            lines = [line for line in self.log().splitlines() if f" {queue_id}: " in line]
            done = [line for line in lines if re.search(r" status=\w+ ", line)]
            return done if any(line.endswith(" removed") for line in lines) or len(done) >= len(letter.recipients) else None
        lines = wait_until(finished, f"Postfix has done with {queue_id}:\n{self.log()[-1500:]}", PATIENCE * 3)
        bad = [re.search(r"status=.*", line)[0] for line in lines if " status=sent " not in line]
        if any("status=deferred" in line for line in lines):
            self.drop(queue_id)
        return Outcome(not bad, "; ".join(bad[:2]))

    def drop(self, queue_id):
        """It would come back with the next run of the queue."""
        subprocess.run(["postsuper", "-c", self.directory + "/etc", "-d", queue_id], capture_output=True, timeout=PATIENCE)


class PostfixLmtpClient(PostfixClient):
    name = "postfix-lmtp"
    protocol = "lmtp"
