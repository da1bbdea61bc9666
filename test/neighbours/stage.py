"""Everything that runs for the table: servers, clients, gatepost between them, and a tap on each side of it."""
import contextlib
import functools
import re
import subprocess
from collections import namedtuple

from common import PATIENCE, PROGRAM, Gatepost, config_for

from .cyrus import CyrusLmtp
from .curl import Curl
from .dovecot import DovecotLmtp
from .exim import EximClient, EximServer
from .letter import NotApplicable, certificate
from .msmtp import Msmtp
from .nodemailer import Nodemailer
from .opensmtpd import OpenSmtpd
from .packages import Unavailable
from .plain import Plain
from .postfix import PostfixClient, PostfixLmtpClient, PostfixServer
from .sendmail import Sendmail
from .smtplib_client import Smtplib
from .swaks import Swaks
from .tap import Tap, dialogue, messages, starts_tls

SERVERS = {each.name: each for each in (PostfixServer, EximServer, OpenSmtpd, Sendmail, DovecotLmtp, CyrusLmtp)}
CLIENTS = {"postfix": PostfixClient, "postfix-lmtp": PostfixLmtpClient, "exim": EximClient,
           **{each.name: each for each in (Msmtp, Swaks, Curl, Smtplib, Nodemailer)}}
REFERENCE = {"smtp": "postfix", "lmtp": "dovecot-lmtp"}  # servers that show what a client can do

NO_LISTENER = "gatepost has no LMTP"

# What one attempt came to. status: n/a, delivered, refused; reason: why; used: the case's feature was seen;
# offered: keywords of EHLO; outer and inner: messages on the wire before and behind gatepost; bare: the server offered
# gatepost STARTTLS in vain; stored: {recipient: contents}.
Result = namedtuple("Result", "status reason used offered outer inner bare stored")


@functools.cache
def configurable(word):
    """Whether this gatepost's configuration knows a key or a value."""
    schema = subprocess.run([PROGRAM, "config", "schema"], capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    return f'"{word}"' in schema


class Stage:
    """A context. `clients` and `servers` are names; `absent` tells which could not be had, and why."""

    def __init__(self, place, clients, servers):
        self.place, self.absent = place, {}
        self._wanted = clients, servers
        self._stack = contextlib.ExitStack()
        self.clients, self.servers, self.outer, self.inner = {}, {}, {}, {}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            clients, servers = self._wanted
            for name in servers:
                self._start(stack, SERVERS, name, lambda kind: kind(self.place), self.servers)
            for name in clients:
                self.outer[name] = stack.enter_context(Tap())
                self._start(stack, CLIENTS, name, lambda kind, name=name: kind(self.place, self.outer[name].port), self.clients)
            for name in ("plain-smtp", "plain-lmtp"):
                self.outer[name] = stack.enter_context(Tap())
                self.clients[name] = Plain(self.place, self.outer[name].port, name[-4:])
            for name, server in self.servers.items():
                self.inner[name] = stack.enter_context(Tap(server.port))
            self.gatepost = stack.enter_context(Gatepost(self.place, self._config()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def _start(self, stack, kinds, name, make, kept):
        try:
            kept[name] = stack.enter_context(make(kinds[name]))
        except Unavailable as missing:
            self.absent[name] = str(missing)

    def _config(self):
        """A listener for each server and protocol, and one with TLS on both legs."""
        config = config_for(self.place, servers=["127.0.0.1:1"])
        made = dict(zip(("certificate", "key"), certificate(self.place.path)))
        listeners, downstreams = [], {}
        for server in self.servers.values():
            if not configurable(server.protocol):
                continue
            for tls in (False, True) if configurable("certificates") else (False,):
                name = self._name(server.name, "", tls)
                downstreams[name] = {"protocol": server.protocol, "servers": [f"127.0.0.1:{self.inner[server.name].port}"],
                                     "reuse": False}  # the taps compare one connection with one session
                if tls:
                    downstreams[name]["tls"] = {"mode": "opportunistic"}
                for protocol in filter(configurable, ("smtp", "lmtp")):
                    listeners.append({"name": self._name(server.name, protocol, tls), "protocol": protocol,
                                      "address": "127.0.0.1:0", "downstream": name})
                    if tls:
                        listeners[-1]["tls"] = {"mode": "starttls", "certificates": [made]}
        return {**config, "listeners": listeners, "downstreams": downstreams}

    @staticmethod
    def _name(server, protocol, tls):
        return "-".join(each for each in (server, protocol, "tls" if tls else "") if each)

    def _gatepost_port(self, client, server, letter):
        """Without a listener for this pair: NotApplicable."""
        tls = letter.tls and configurable("certificates")
        name = self._name(server.name, client.protocol, tls)
        if name not in self.gatepost.listeners:
            raise NotApplicable(NO_LISTENER)
        return int(self.gatepost.listeners[name].rsplit(":", 1)[1])

    def attempt(self, case, client_name, server_name, through):
        """Sends the case's letter; Result."""
        client, server, outer, inner = (self.clients[client_name], self.servers[server_name], self.outer[client_name],
                                        self.inner[server_name])
        letter = case.make()
        outer.forget()
        inner.forget()
        try:
            outer.target = self._gatepost_port(client, server, letter) if through else server.port
            outcome = client.send(letter)
        except NotApplicable as missing:
            return Result("n/a", str(missing), False, set(), [], [], False, {})
        said = [dialogue(*tape) for tape in outer.take(PATIENCE)]
        if not said:
            raise AssertionError(f"{client_name} did not connect: {outcome.said}")
        behind = [dialogue(*tape) for tape in inner.take(PATIENCE)] if through else []
        used = any(case.used(each) for each in said)
        stored = {}
        for each in server.take(letter, PATIENCE * 3) if outcome.delivered else []:
            for recipient in each.recipients:
                stored.setdefault(recipient.split("@")[0], []).append(each.content)
        return Result("delivered" if outcome.delivered else "refused", outcome.said if outcome.delivered else
                      refusal(said) or outcome.said, used, offered(said), [m for each in said for m in messages(each)],
                      [m for each in behind for m in messages(each)],
                      any(b"STARTTLS" in offered([each]) and not starts_tls(each) for each in behind), stored)


def offered(said):
    """Keywords of the replies to EHLO or LHLO."""
    return {line.split()[0] for each in said for command, reply, _ in each if command[:4].upper() in (b"EHLO", b"LHLO")
            for line in re.findall(rb"^250[ -](\S.*)$", reply, re.M)[1:]}


def refusal(said):
    """The first negative reply to MAIL, RCPT, DATA, BDAT or the content."""
    for each in said:
        for command, reply, _ in each:
            if command[:4].upper() in (b"MAIL", b"RCPT", b"DATA", b"BDAT", b"(CON") and reply[:1] in (b"4", b"5"):
                return reply.decode("utf-8", "replace")
    return ""
