"""Who the client is, as a real Postfix behind gatepost sees it, and that it never becomes an open relay (T:H1, H2): the
client is 203.0.113.9 in a network of its own, the Postfix trusts this host, as Postfix does by default."""
import json
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import unittest

import far_network
import postfix_server
from common import PROGRAM, Gatepost, Place, config_for, die_with_parent, wait_until
from ports import free_port
from postfix_server import Postfix

FOREIGN = b"someone@elsewhere.example"
network = None


def setUpModule():
    global network
    network = far_network.laid_for_module(postfix_server)


SMTPD = "127.0.0.1:{port} inet n - n - - smtpd -o syslog_name=postfix/{name} {options}\n"
SERVERS = {
    "trusting": "",
    "xclient": "-o smtpd_authorized_xclient_hosts=127.0.0.1",
    "haproxy": "-o smtpd_upstream_proxy_protocol=haproxy",
    "xforward": "-o smtpd_authorized_xforward_hosts=127.0.0.1 -o mynetworks=192.0.2.99",
    "careful": "-o mynetworks=192.0.2.99",
    "once": "-o mynetworks=192.0.2.99",
    "deferring": "-o mynetworks=192.0.2.99 -o smtpd_relay_restrictions=permit_mynetworks,defer_unauth_destination",
}
DOWNSTREAMS = {  # name -> server, keys of the downstream
    "auto-trusting": ("trusting", {}),
    "none-trusting": ("trusting", {"identity": "none"}),
    "accepting-trusting": ("trusting", {"identity": "none", "accept_source_loss": True}),
    "xclient-trusting": ("trusting", {"identity": "xclient"}),
    "xforward-trusting": ("trusting", {"identity": "xforward"}),
    "proxy-v1-trusting": ("trusting", {"identity": "proxy-v1"}),
    "proxy-v2-trusting": ("trusting", {"identity": "proxy-v2"}),
    "auto-xclient": ("xclient", {}),
    "xclient-xclient": ("xclient", {"identity": "xclient"}),
    "auto-haproxy": ("haproxy", {}),
    "proxy-v1-haproxy": ("haproxy", {"identity": "proxy-v1"}),
    "proxy-v2-haproxy": ("haproxy", {"identity": "proxy-v2"}),
    "xforward-xforward": ("xforward", {"identity": "xforward"}),
    "auto-careful": ("careful", {}),
    "auto-once": ("once", {}),
    "auto-deferring": ("deferring", {}),
    "accepting-deferring": ("deferring", {"accept_source_loss": True}),
}
BEHIND_HAPROXY = {"plain": {}, "tls": {}}
TOLD = ("auto-xclient", "xclient-xclient", "auto-haproxy", "proxy-v1-haproxy", "proxy-v2-haproxy")
SOURCE_LOST = ("auto-careful", "xforward-xforward", "auto-deferring", "accepting-deferring")
TURNED_AWAY = ("auto-trusting", "none-trusting", "accepting-trusting", "xclient-trusting", "xforward-trusting")
NOT_UNDERSTOOD = ("proxy-v1-trusting", "proxy-v2-trusting")


class ClientOutside(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.ports = {name: free_port() for name in SERVERS}
        services = "".join(SMTPD.format(port=cls.ports[name], name=name, options=options)
                           for name, options in SERVERS.items())
        settings = "mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"
        cls.postfix = Postfix(cls.place, settings=settings, services=services)
        cls.addClassCleanup(cls.postfix.__exit__)
        config = config_for(cls.place, scan=False, loops=1)
        config["listeners"] = [{"name": name, "address": "0.0.0.0:0", "downstream": name} for name in DOWNSTREAMS]
        config["listeners"] += [{"name": f"behind-{name}", "address": "127.0.0.1:0", "downstream": "auto-xclient",
                                 "proxy_header": "any", "proxy_from": ["127.0.0.1"]} for name in BEHIND_HAPROXY]
        config["downstreams"] = {name: {"servers": [f"127.0.0.1:{cls.ports[server]}"], "greeting_timeout": "10s", **keys}
                                 for name, (server, keys) in DOWNSTREAMS.items()}
        cls.config_file = cls.place / "gatepost.json"
        cls.gatepost = Gatepost(cls.place, config)
        cls.addClassCleanup(cls.gatepost.__exit__, None)

    def port(self, listener):
        return int(self.gatepost.listeners[listener].rsplit(":", 1)[1])

    def wire(self, listener):
        return network.wire(self.port(listener))

    def begin(self, wire):
        self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())
        self.assertEqual(wire.say(b"EHLO far.example.net")[0], 250, self.gatepost.log.tail())
        self.assertEqual(wire.say(b"MAIL FROM:<a@sender.example>")[0], 250)

    def deliver(self, wire, user):
        self.assertEqual(wire.say(b"RCPT TO:<" + user.encode() + b"@example.org>")[0], 250)
        self.assertEqual(wire.say(b"DATA")[0], 354)
        self.assertEqual(wire.say(b"Subject: x\r\n\r\nhello\r\n.")[0], 250)

    def stored(self, user):
        return self.postfix.delivered(user)[0]

    def log_of(self, server):
        return [line for line in self.postfix.log().splitlines() if f"postfix/{server}/" in line]

    def test_postfix_is_as_trusting_as_it_should_be(self):
        """Without gatepost this host may relay through it: the danger is real."""
        with smtplib.SMTP("127.0.0.1", self.ports["trusting"]) as direct:
            direct.ehlo()
            direct.mail("a@sender.example")
            self.assertEqual(direct.rcpt(FOREIGN.decode())[0], 250)

    def test_the_server_knows_the_client_and_refuses_to_relay(self):
        for name in TOLD:
            with self.subTest(name), self.wire(name) as wire:
                self.begin(wire)
                code, text = wire.say(b"RCPT TO:<" + FOREIGN + b">")
                self.assertEqual(code, 554, text)
                self.deliver(wire, name)
                self.assertIn(b"[203.0.113.9]", self.stored(name))
                self.assertIn(b"from far.example.net", self.stored(name))
                wait_until(lambda: any("client=unknown[203.0.113.9]" in line for line in self.log_of(DOWNSTREAMS[name][0])),
                           "Postfix's log names the client")

    def test_a_server_that_proves_not_to_relay(self):
        for name in SOURCE_LOST:
            with self.subTest(name), self.wire(name) as wire:
                self.begin(wire)
                code, text = wire.say(b"RCPT TO:<" + FOREIGN + b">")
                self.assertIn(code, (454, 554), text)
                self.deliver(wire, name)
                self.assertIn(b"hello", self.stored(name))

    def test_an_open_relay_is_not_used(self):
        for name in TURNED_AWAY:
            with self.subTest(name), self.wire(name) as wire:
                code, text = wire.reply()
                self.assertEqual(code, 421, text)
                self.assertIn(b"4.3.5", text)
                self.assertEqual(wire.reply()[0], 0)
        self.gatepost.log.wait_for("smtpd_authorized_xclient_hosts = 127.0.0.1")

    def test_a_server_that_takes_the_header_for_a_command(self):
        for name in NOT_UNDERSTOOD:
            with self.subTest(name), self.wire(name) as wire:
                self.assertEqual(wire.reply()[0], 421, self.gatepost.log.tail())

    def test_xforward_is_in_the_log(self):
        with self.wire("xforward-xforward") as wire:
            self.begin(wire)
            self.deliver(wire, "forwarded")
        self.stored("forwarded")
        lines = self.log_of("xforward")
        self.assertTrue(any("client=localhost[127.0.0.1]" in line or "client=unknown[127.0.0.1]" in line for line in lines))
        wait_until(lambda: any("orig_client=unknown[203.0.113.9]" in line for line in self.log_of("xforward")),
                   "Postfix's log names the original client:\n" + "\n".join(lines[-10:]))

    def test_several_sessions_one_probe(self):
        for _ in range(3):
            with self.wire("auto-once") as wire:
                self.begin(wire)
        asked = [line for line in self.log_of("once") if "relay-probe@example.net" in line]
        self.assertEqual(len(asked), 1, asked)

    def test_xclient_of_anybody_is_refused(self):
        with self.wire("auto-xclient") as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertNotIn(b"XCLIENT", wire.say(b"EHLO far.example.net")[1])
            self.assertEqual(wire.say(b"XCLIENT ADDR=127.0.0.1")[0], 550)
            self.assertEqual(wire.say(b"MAIL FROM:<a@sender.example>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<" + FOREIGN + b">")[0], 554)

    def test_proxy_header_of_anybody_is_refused(self):
        with self.wire("auto-xclient") as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertEqual(wire.say(b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 25")[0], 500)

    def check(self, *names):
        with open(self.config_file) as file:
            config = json.load(file)
        config["listeners"] = [each for each in config["listeners"] if each["name"] in names]
        config["downstreams"] = {name: config["downstreams"][name] for name in names}
        file = self.place / "probe.json"
        with open(file, "w") as out:
            json.dump(config, out)
        done = subprocess.run([PROGRAM, "check", "-c", file, "--probe"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60)
        with_json = subprocess.run([PROGRAM, "check", "-c", file, "--probe", "--json"], stdin=subprocess.DEVNULL,
                                   capture_output=True, text=True, timeout=60)
        self.assertEqual(with_json.returncode, done.returncode)
        return done.returncode, done.stdout + done.stderr, json.loads(with_json.stdout)

    def test_check_probe(self):
        status, said, told = self.check("auto-trusting")
        self.assertEqual(status, 78, said)
        self.assertIn("OPEN RELAY", said)
        self.assertIn("smtpd_authorized_xclient_hosts = 127.0.0.1", said)
        self.assertFalse(told["ok"])
        self.assertTrue(told["servers"][0]["relays"])
        status, said, told = self.check("auto-careful", "auto-xclient")
        self.assertEqual(status, 0, said)
        self.assertIn("identity none, relays for nobody", said)
        self.assertIn("identity xclient", said)
        self.assertIn("withheld from clients: ", said)
        self.assertEqual({each["identity"] for each in told["servers"]}, {"none", "xclient"})
        self.assertIn("ETRN", told["servers"][0]["withheld"])

    @unittest.skipUnless(shutil.which("haproxy"), "haproxy is not installed")
    def test_haproxy_in_front(self):
        ports = {name: free_port() for name in BEHIND_HAPROXY}
        pem = self.place / "haproxy.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=front.example",
                        "-keyout", pem + ".key", "-out", pem], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        os.rename(pem + ".key", self.place / "haproxy.pem.key")
        options = {"plain": ("", "send-proxy-v2"), "tls": (f"ssl crt {pem} alpn smtp", "send-proxy-v2 proxy-v2-options unique-id,ssl,cert-cn,ssl-cipher,authority")}
        text = "global\n  log stderr format raw local0 err\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
        for name, port in ports.items():
            bind, send = options[name]
            text += (f"frontend {name}\n  bind 0.0.0.0:{port} {bind}\n  unique-id-format id-%ci\n  default_backend {name}\n"
                     f"backend {name}\n  server gatepost 127.0.0.1:{self.port('behind-' + name)} {send}\n")
        file = self.place / "haproxy.cfg"
        with open(file, "w") as out:
            out.write(text)
        haproxy = subprocess.Popen(["haproxy", "-f", file, "-db"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        self.addCleanup(haproxy.stderr.close)
        self.addCleanup(haproxy.wait)
        self.addCleanup(haproxy.terminate)
        for name, port in ports.items():
            wire = network.wire(wait_until(lambda: self.listens(haproxy, port), "haproxy listens"))
            if name == "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.set_alpn_protocols(["smtp"])
                wire.socket = context.wrap_socket(wire.socket, server_hostname="mx.example.org")
            with wire:
                self.begin(wire)
                self.assertEqual(wire.say(b"RCPT TO:<" + FOREIGN + b">")[0], 554)
                self.deliver(wire, "haproxy-" + name)
            self.assertIn(b"[203.0.113.9]", self.stored("haproxy-" + name))
            line = self.gatepost.summary(to=f"haproxy-{name}@example.org")
            self.assertTrue(line["client"].startswith("203.0.113.9:"), line)
            self.assertTrue(line["peer"].startswith("127.0.0.1:"), line)
        self.assertRegex(line["peer_tls"], r"TLSv1\.[23]/\S+")
        self.assertEqual((line["unique_id"], line["alpn"], line["authority"]), ("id-203.0.113.9", "smtp", "mx.example.org"))

    def listens(self, haproxy, port):
        if haproxy.poll() is not None:
            self.fail(haproxy.stderr.read().decode())
        with open("/proc/thread-self/net/tcp") as table:
            return port if re.search(rf"^\s*\d+: \w+:{port:04X} 0+:0000 0A", table.read(), re.M) else None

    def test_not_through_the_port_for_proxies(self):
        """Listed is 127.0.0.1 alone; and who is listed must send the header."""
        with socket.create_connection(("127.0.0.1", self.port("behind-plain"))) as direct:
            direct.sendall(b"EHLO nobody.example\r\n")
            self.assertTrue(direct.recv(1000).startswith(b"421 4.7.0 "))


if __name__ == "__main__":
    unittest.main()
