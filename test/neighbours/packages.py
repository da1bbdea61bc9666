"""Debian's mail servers side by side: their packages conflict, so they are not installed but unpacked, each into a
directory of its own below the build. appliance/install-dependencies names them, and installs the libraries they need."""
import fcntl
import glob
import os
import shutil
import subprocess

from common import BUILD, IS_ROOT, ROOT

CACHE = os.path.join(BUILD, "neighbours")
INSTALL = os.path.join(ROOT, "appliance/install-dependencies")


class Unavailable(Exception):
    """Why a neighbour cannot be had on this machine."""


def unpacked(*packages):
    """Their directories, filled if this is the first time; Unavailable where it cannot be done."""
    if not IS_ROOT:
        raise Unavailable(f"needs root to run {packages[0]}")
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Unavailable(f"{packages[0]} is unpacked from Debian's package, and this is no Debian")
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, ".lock"), "w") as lock:  # several suites may run at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [_unpack(package) for package in packages]


def _unpack(package):
    target = os.path.join(CACHE, package)
    if os.path.isdir(target):
        return target
    known = subprocess.run([INSTALL, "--list", "neighbours"], capture_output=True, text=True, check=True).stdout.split()
    if package not in known:
        raise AssertionError(f"{INSTALL} does not name {package}")
    partial = target + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.mkdir(partial)
    fetched = subprocess.run(["apt-get", "-q", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root", "download", package],
                             cwd=partial, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    files = glob.glob(os.path.join(partial, "*.deb"))
    if fetched.returncode != 0 or len(files) != 1:
        raise AssertionError(f"apt-get download {package}: {fetched.stdout[-500:]}{fetched.stderr[-500:]}")
    subprocess.run(["dpkg", "-x", files[0], partial], check=True, timeout=120)
    os.remove(files[0])
    os.rename(partial, target)
    return target


def program(name):
    """Path of an installed program, or Unavailable."""
    found = shutil.which(name)
    if not found:
        raise Unavailable(f"{name} is not installed")
    return found
