"""Sendmail as a server whose local mailer is a pipe into files."""
import os

from .jail import Jail, JailedServer
from .letter import Maildrop

CONFIG = """include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`ALIAS_FILE', `')dnl
define(`QUEUE_DIR', `{place}/queue')dnl
define(`STATUS_FILE', `{place}/statistics')dnl
define(`HELP_FILE', `')dnl
define(`confPID_FILE', `{place}/pid')dnl
define(`confDOMAIN_NAME', `mta.example')dnl
define(`confCW_FILE', `')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`confTO_IDENT', `0')dnl
define(`confDEF_USER_ID', `sink:sink')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDELAY_LA', `1000')dnl
define(`confSERVER_CERT', `/etc/mail/certificate.pem')dnl
define(`confSERVER_KEY', `/etc/mail/key.pem')dnl
define(`confCACERT', `/etc/mail/certificate.pem')dnl
define(`confCACERT_PATH', `/etc/mail')dnl
define(`confDONT_BLAME_SENDMAIL', `safe')dnl
define(`confEIGHT_BIT_HANDLING', `pass8')dnl
define(`LOCAL_MAILER_PATH', `{place}/sink')dnl
define(`LOCAL_MAILER_ARGS', `sink {place}/mail $u')dnl
MODIFY_MAILER_FLAGS(`LOCAL', `lsDFMPmn9')dnl
undefine(`LOCAL_SHELL_PATH')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
DAEMON_OPTIONS(`Port={port}, Addr=127.0.0.1, Name=MTA')dnl
LOCAL_DOMAIN(`example.org')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
"""
# directory, then the recipients: one file per call, complete when it has its name.
SINK = """#!/bin/sh
set -e
umask 022
directory=$1
shift
file=$(mktemp "$directory/tmp.XXXXXXXX")
{ for each; do echo "Delivered-To: $each@example.org"; done; cat; } >"$file"
mv "$file" "$directory/message.${file##*.}"
"""


class Sendmail(JailedServer):
    name = "sendmail"
    protocol = "smtp"
    packages = ("sendmail-bin", "sendmail-base", "sendmail-cf")

    def configure(self):
        self.make("mail", "sink")
        os.chmod(self.make("queue", "smmta"), 0o700)
        os.chown(self.directory + "/queue", 0, 0)
        with open(self.directory + "/sink", "w") as out:
            out.write(SINK)
        os.chmod(self.directory + "/sink", 0o755)
        self.mail = Maildrop(self.directory + "/mail", r"/message\.\w+$")
        files = {}
        for name in ("certificate.pem", "key.pem"):  # it takes them from directories only that root alone may write
            with open(os.path.join(self.directory, name)) as file:
                files["mail/" + name] = file.read()
        jail = Jail(self.directory, self.packages, files, binds=("/var/spool", "/run"))
        os.chmod(jail.etc + "/mail/key.pem", 0o600)
        source = CONFIG.format(place=self.directory, port=self.port)
        made = jail.run("m4", "-D_CF_DIR_=/usr/share/sendmail/cf/", "-", feed=source.encode())
        with open(self.directory + "/sendmail.cf", "wb") as out:
            out.write(made)
        return jail, "/usr/libexec/sendmail/sendmail", "-bD", "-C", self.directory + "/sendmail.cf"
