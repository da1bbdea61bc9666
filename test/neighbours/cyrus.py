"""Cyrus' LMTP server; mailboxes are made when mail comes."""
import os

from .jail import ACCOUNTS, Jail, JailedServer
from .letter import Maildrop

MASTER = """START {{
  recover cmd="ctl_cyrusdb -r"
}}
SERVICES {{
  lmtp cmd="lmtpd -a" listen="127.0.0.1:{port}" prefork=1
}}
EVENTS {{
}}
"""
CONFIG = """configdirectory: {place}/state
partition-default: {place}/mail
admins: cyrus
cyrus_user: cyrus
cyrus_group: cyrus
servername: mta.example
autocreate_quota: 0
autocreate_post: yes
duplicatesuppression: no
unixhierarchysep: yes
virtdomains: off
mailbox_legacy_dirs: yes
skiplist_unsafe: yes
munge8bit: no
reject8bit: no
maxmessagesize: 0
tls_server_cert: {certificate}
tls_server_key: {key}
"""


class CyrusLmtp(JailedServer):
    name = "cyrus-lmtp"
    protocol = "lmtp"
    packages = ("cyrus-common", "cyrus-imapd")

    def configure(self):
        self.make("mail", "cyrus")
        for each in ("state", "state/db", "state/proc", "state/socket", "state/lock"):
            self.make(each, "cyrus")
        os.chown(self.key, ACCOUNTS["cyrus"], ACCOUNTS["cyrus"])
        self.mail = Maildrop(self.directory + "/mail", r"/user/([^/]+)/\d+\.$")
        values = {"place": self.directory, "port": self.port, "certificate": self.certificate, "key": self.key}
        jail = Jail(self.directory, self.packages, binds=("/run",), files={"cyrus.conf": MASTER.format(**values),
                                                                          "imapd.conf": CONFIG.format(**values)})
        return jail, "/usr/lib/cyrus/bin/master", "-p", "/run/cyrus-master.pid"
