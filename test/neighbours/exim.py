"""Exim 4: as a server with a maildir of its own, and as a client that relays what its own port is given."""
import os
import re

from common import PATIENCE, wait_until
from ports import free_port

from .jail import ACCOUNTS, Jail, JailedServer
from .letter import Maildrop, Outcome
from .submit import submit

COMMON = """primary_hostname = {hostname}
spool_directory = {place}/spool
log_file_path = {place}/log-%s
pid_file_path = {place}/pid
exim_user = {uid}
exim_group = {uid}
never_users =
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_certificate = {certificate}
tls_privatekey = {key}
tls_advertise_hosts = *
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
message_size_limit = 60M
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 100000
host_lookup =
keep_environment =
"""
EVERYBODY = """acl_smtp_rcpt = everybody
acl_smtp_data = everybody
begin acl
everybody:
  accept
"""
# The usual trust in one's own host; a port that is told who the client is, and one that is not.
CAREFUL = """hosts_proxy = ${{if ={{$received_port}}{{{port}}}{{127.0.0.1}}}}
log_selector = +proxy
acl_smtp_rcpt = ours_only
acl_smtp_data = everybody
begin acl
ours_only:
  accept
    hosts = 127.0.0.1
  accept
    domains = example.org
  deny
    message = relay not permitted
everybody:
  accept
"""
SERVER = """begin routers
local:
  driver = accept
  domains = example.org
  transport = drop
begin transports
drop:
  driver = appendfile
  directory = {place}/mail
  maildir_format
  user = {sink}
  group = {sink}
  batch_max = 10000
  envelope_to_add
  return_path_add
"""
CLIENT = """begin routers
bounces:
  driver = redirect
  senders = :
  data = :blackhole:
relay:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = ${{if match{{$local_part}}{{^starttls}} {{out_tls}}{{out}}}}
begin transports
out:
  driver = smtp
  {out}
  hosts_avoid_tls = *
out_tls:
  driver = smtp
  {out}
  hosts_require_tls = *
"""
# Every chance for long lines and many recipients; chunking only where the case asks for it.
OUT = """port = {target}
  protocol = {protocol}
  allow_localhost
  max_rcpt = 1000
  connection_max_messages = 1
  message_linelength_limit = 1000000
  hosts_try_chunking = ${{if match{{$h_X-Interop:}}{{BDAT}} {{*}}{{}}}}
  command_timeout = 60s
  data_timeout = 60s
  final_timeout = 60s"""


class _Exim(JailedServer):
    packages = ("exim4-daemon-heavy", "exim4-base")

    def start_with(self, hostname, rest, *more_ports):
        self.make("spool", "Debian-exim")
        self.make("mail", "sink")
        os.chown(self.directory, ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])
        os.chown(self.key, ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])
        text = COMMON.format(place=self.directory, uid=ACCOUNTS["Debian-exim"], port=self.port, hostname=hostname,
                             certificate=self.certificate, key=self.key)
        jail = Jail(self.directory, self.packages, files={"exim4/exim4.conf": text + rest})
        return jail, "/usr/sbin/exim4", "-bdf", "-oX", " : ".join(map(str, (self.port, *more_ports)))


class EximServer(_Exim):
    name = "exim"
    protocol = "smtp"

    def configure(self):
        self.mail = Maildrop(self.directory + "/mail", r"/new/[^/]+$")
        return self.start_with("mta.example", EVERYBODY + SERVER.format(place=self.directory, sink=ACCOUNTS["sink"]))


class EximBehindProxy(EximServer):
    """Relays for its own host and for nobody else; the clients of `proxy_port` are told by PROXY headers."""
    name = "exim-proxy"

    def configure(self):
        self.proxy_port = free_port()
        acl = CAREFUL.format(port=self.proxy_port)
        self.mail = Maildrop(self.directory + "/mail", r"/new/[^/]+$")
        return self.start_with("mta.example", acl + SERVER.format(place=self.directory, sink=ACCOUNTS["sink"]), self.proxy_port)


class EximClient(_Exim):
    name = "exim-client"
    protocol = "smtp"

    def __init__(self, place, target):
        self.target = target
        super().__init__(place)

    def configure(self):
        out = OUT.format(target=self.target, protocol=self.protocol)
        return self.start_with("client.example", EVERYBODY + CLIENT.format(out=out))

    def send(self, letter):
        reply = submit(self.port, letter)
        queue_id = re.search(r"id=(\S+)", reply)[1]

        def finished():
            with open(self.directory + "/log-main", errors="replace") as log:
                lines = [line for line in log if queue_id in line]
            return lines if any(re.search(r" Completed$| == ", line) for line in lines) else None
        lines = wait_until(finished, f"Exim has done with {queue_id}:\n{self.log()[-1500:]}", PATIENCE * 3)
        bad = [line.strip() for line in lines if re.search(r" (\*\*|==) ", line)]
        return Outcome(not bad, "; ".join(bad[:2]))
