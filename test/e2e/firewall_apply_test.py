#!/usr/bin/env python3
"""gatepost firewall apply, confirm and remove: nothing is left behind, whatever happens on the way. What stands in the way
is a program in the place of nft, iptables, ip and so on, seen by the command under test alone."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from common import Place, wait_until
from firewall_world import NEAR, World, Rules, StandIn, available, reach, snapshot
from peers import PATIENCE

BACKENDS = ("nft", "iptables")
TOOLS = ("nft", "iptables", "ip6tables", "iptables-restore", "ip6tables-restore", "ipset", "ip", "sysctl")

# What an administrator has, in the same tables and next to them.
FOREIGN = """table inet site {
    set friends {
        type ipv4_addr
        elements = { 198.51.100.1 }
    }
    chain pre {
        type nat hook prerouting priority dstnat + 5; policy accept
        ip saddr @friends tcp dport 8080 redirect to :80
    }
}
"""

# In the place of each tool: writes down what it is told; at the step that is named it does as the test wants.
WRAPPER = """#!/bin/bash
name=${0##*/}
input=
[[ $name$* == *restore* || "$*" == "-f -" ]] && { input=$(cat; echo x); input=${input%x}; }
line="$name $*"
printf '%s\\n%s' "$line" "$input" >>"@PLACE@/ran"
if [[ -e "@PLACE@/at" && $line == "$(cat "@PLACE@/at")" ]] && { [[ -z $input ]] || grep -qi gatepost <<<"$input"; }; then
  rm "@PLACE@/at"
  case $(cat "@PLACE@/then") in
    fail) echo "told to fail" >&2; exit 1 ;;
    hang) echo hanging >"@PLACE@/fifo"; sleep 600 ;;
  esac
fi
if [[ $name == *tables* ]]; then exec "@PLACE@/xtables-nft-multi" "$name" "$@" < <(printf %s "$input"); fi
if [[ -n $input ]]; then exec "@PLACE@/$name" "$@" < <(printf %s "$input"); fi
exec "@PLACE@/$name" "$@"
"""


def listeners(backend, *more):
    """Of both ways, both families and all scopes, with lists: every kind of step."""
    proxied = {"ports": [25, 465], "skip_sources": ["198.51.100.0/24", "2001:db8:7::/48"]}
    return [{"intercept": "redirect", "address": "0.0.0.0:2525", **proxied},
            {"intercept": "redirect", "address": "[::]:2525", "direction": "outgoing", "scopes": ["input", "forward", "output"],
             **proxied},
            {"intercept": "tproxy", "address": "127.0.0.1:2526", "ports": [2500], "downstream": "there"},
            {"intercept": "tproxy", "address": "[::1]:2526", "ports": [2500], "downstream": "there"}, *more]


THERE = {"there": {"original": True, "identity": "spoof"}}


@unittest.skipUnless(available(), "needs root, ip, nft, iptables and ipset")
class Firewall(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.gateway = self.world.gateway
        self.rules = Rules(self.gateway, self.place)

    def configured(self, backend, *more, **sections):
        return self.rules.config(*listeners(backend, *more), downstreams=THERE, firewall={"backend": backend}, **sections)

    def given_foreign_rules(self):
        self.gateway.run(["nft", "-f", "-"], input=FOREIGN)
        self.gateway.run(["iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "8025", "-j", "REDIRECT"])
        self.gateway.run(["ip6tables", "-t", "mangle", "-N", "SITE"])
        self.gateway.run(["ipset", "create", "site", "hash:ip"])
        self.gateway.ip("rule add priority 100 fwmark 0x7 lookup 7", "route add local default dev lo table 7")

    def each(self):
        for backend in BACKENDS:
            for foreign in (False, True):
                with self.subTest(backend=backend, foreign=foreign):
                    if foreign:
                        self.given_foreign_rules()
                    yield backend, snapshot(self.gateway)
                    self.assertFalse(os.path.exists(self.rules.state + "/firewall.json"))
            self.world.close()
            self.setUp()

    def no_trace(self, before):
        self.assertMultiLineEqual(snapshot(self.gateway), before)

    # In the place of the tools, for this gatepost alone (a mount namespace).

    def given_wrappers(self):
        for tool in TOOLS:
            path = shutil.which(tool)
            if "tables" not in tool:
                shutil.copy(path, self.place / tool)
            with open(self.place / "w-" + tool, "w") if False else open(os.path.join(self.place.path, "w-" + tool), "w") as file:
                file.write(WRAPPER.replace("@PLACE@", self.place.path))
            os.chmod(self.place / ("w-" + tool), 0o755)
        shutil.copy(shutil.which("xtables-nft-multi"), self.place / "xtables-nft-multi")
        os.mkfifo(self.place / "fifo")
        mounts = []
        for tool in TOOLS:
            path = shutil.which(tool)
            if os.path.islink(path):  # to the one program that is all of iptables: the link gives way to a file
                mounts.append(f'ln -sf "{self.place / ("w-" + tool)}" "$1/{tool}"')
        self.rules.before = ("unshare", "-m", "bash", "-c", self.overlay(), "bash")

    def overlay(self):
        """/usr/sbin with the wrappers in it, then the words of the command."""
        commands = ["set -e", "mount --make-rprivate /", "mkdir -p /mnt", "mount -t tmpfs none /mnt", "mkdir /mnt/sbin",
                    "cp -a /usr/sbin/. /mnt/sbin/"]
        for tool in TOOLS:
            commands.append(f'rm -f /mnt/sbin/{tool}; cp "{self.place / ("w-" + tool)}" /mnt/sbin/{tool}')
        commands += ["mount --bind /mnt/sbin /usr/sbin", 'for t in ' + " ".join(TOOLS) + '; do test -e /usr/bin/$t && '
                     'mount --bind /mnt/sbin/$t /usr/bin/$t || true; done', 'exec "$@"']
        return "; ".join(commands)


if __name__ == "__main__":
    unittest.main()
