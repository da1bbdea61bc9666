"""In the place of nft, iptables, ip and so on, for one command alone (a mount namespace): programs that write down what
they are told, do it, and at one step do as a test wants."""
import os
import shutil
import stat

from common import wait_until

TOOLS = ("nft", "iptables", "ip6tables", "iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save", "ipset", "ip",
         "sysctl", "tc")

WRAPPER = """#!/bin/bash
name=${0##*/}
input=
[[ $* == "-f -" || $* == *restore* || $name == *-restore ]] && { input=$(cat; echo .); input=${input%.}; }
line="$name $*"
printf '%s\\n' "$line" >>"@PLACE@/ran"
# Where the input is all that tells a step from a try at what the kernel can do, it has our name in it.
if [[ -e @PLACE@/at && $line == "$(<@PLACE@/at)" && ( -z $input || ${input,,} == *gatepost* ) ]]; then
  rm "@PLACE@/at"
  case $(<@PLACE@/then) in
    fail) echo "told to fail" >&2; exit 1 ;;
    "fail twice") printf %s "$line" >"@PLACE@/at"; printf fail >"@PLACE@/then"; echo "told to fail" >&2; exit 1 ;;
    hang) echo $$ >"@PLACE@/hanging"; exec sleep 600 ;;
    wait) echo $$ >"@PLACE@/hanging"; read -r <"@PLACE@/go" ;;
  esac
fi
[[ -e @PLACE@/lacking && " $line " == $(<@PLACE@/lacking) ]] && exit 1
if [[ $name == *tables* ]]; then set -- "$name" "$@"; name=xtables-nft-multi; fi
if [[ -n $input ]]; then printf %s "$input" | "@PLACE@/real/$name" "$@"; else exec "@PLACE@/real/$name" "$@" </dev/null; fi
"""


class Tools:
    def __init__(self, place):
        self.path = place / "tools"
        os.makedirs(self.path + "/real")
        os.mkdir(self.path + "/sbin")
        for tool in TOOLS:
            name = "xtables-nft-multi" if "tables" in tool else tool
            shutil.copy(shutil.which(name), f"{self.path}/real/{name}")
            with open(f"{self.path}/sbin/{tool}", "w") as file:
                file.write(WRAPPER.replace("@PLACE@", self.path))
            os.chmod(file.name, stat.S_IRWXU)
        os.mkfifo(self.path + "/hanging")
        os.mkfifo(self.path + "/go")
        script = f'mount --make-rprivate / && mount --bind "{self.path}/sbin" /usr/sbin && exec "$@"'
        self.before = ("unshare", "-m", "/bin/bash", "-c", script, "bash")  # words in front of the command

    def at(self, step, then):
        """The next time that this command line is run: "fail", "hang", or "wait" for go_on; the next two times: "fail
        twice"."""
        self._write("at", " ".join(step["argv"]))
        self._write("then", then)

    def was_reached(self):
        return not os.path.exists(self.path + "/at")

    def wait_until_reached(self, seconds):
        wait_until(self.was_reached, "the step", seconds)

    def wait_for_hanging(self):
        """Process id of the one that hangs or waits."""
        with open(self.path + "/hanging") as file:
            return int(file.read())

    def go_on(self):
        with open(self.path + "/go", "w") as file:
            file.write("\n")

    def lacks(self, tool, word):
        """As if the kernel did not know it."""
        self._write("lacking", f" {tool} * {word} *")

    def ran(self):
        """The command lines so far."""
        with open(self.path + "/ran") as file:
            return file.read().splitlines()

    def forget(self):
        self._write("ran", "")

    def _write(self, name, text):
        with open(f"{self.path}/{name}", "w") as file:
            file.write(text)
