"""Dovecot's LMTP server with a maildir per recipient, and its auth server for a Postfix."""
import contextlib
import socket

from .jail import ACCOUNTS, Jail, JailedServer
from .letter import Maildrop

CONFIG = """protocols = lmtp
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:{place}/mail/%n
mail_fsync = never
postmaster_address = postmaster@example.org
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={sink} gid={sink} home={place}/mail/%n allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service stats {{
  client_limit = 1000
}}
"""


class DovecotLmtp(JailedServer):
    name = "dovecot-lmtp"
    protocol = "lmtp"
    packages = ("dovecot-core", "dovecot-lmtpd")

    def configure(self):
        self.make("mail", "sink")
        self.make("state")
        self.mail = Maildrop(self.directory + "/mail", r"/mail/([^/]+)/new/[^/]+$")
        jail = Jail(self.directory, self.packages, files={"dovecot/dovecot.conf": CONFIG.format(
            place=self.directory, port=self.port, certificate=self.certificate, key=self.key, sink=ACCOUNTS["sink"])})
        return jail, "/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"

AUTH = """protocols =
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
auth_failure_delay = 0
auth_mechanisms = {mechanisms}
ssl = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {place}/users
}}
userdb {{
  driver = static
  args = uid={sink} gid={sink} home=/nonexistent
}}
service auth {{
  unix_listener {place}/auth {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


class DovecotAuth(JailedServer):
    """SASL for others, at the UNIX socket `socket`; `users`: name -> password."""
    name = "dovecot-auth"
    packages = ("dovecot-core",)

    def __init__(self, place, users, mechanisms="plain login"):
        self.users, self.mechanisms = users, mechanisms
        super().__init__(place)

    def configure(self):
        self.make("state")
        self.socket = self.directory + "/auth"
        with open(self.directory + "/users", "w") as out:
            out.writelines(f"{name}:{password}\n" for name, password in self.users.items())
        jail = Jail(self.directory, self.packages, files={"dovecot/dovecot.conf": AUTH.format(
            place=self.directory, mechanisms=self.mechanisms, sink=ACCOUNTS["sink"])})
        return jail, "/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"

    def _answers(self):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)
            return True
        return False
