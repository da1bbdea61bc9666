"""Dovecot's LMTP server with a maildir per recipient."""
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
