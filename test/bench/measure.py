"""What a tree of processes costs: CPU in nanoseconds, memory in octets. Nothing here knows what the processes are."""
import os
import threading
import time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Fields of /proc/PID/stat behind the name: [0] is the state, [1] the parent."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def tree(root):
    """root and all its living descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(int(_stat(name)[1]), []).append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def named(name, root):
    """The process of that name in the tree."""
    for pid in tree(root):
        with open(f"/proc/{pid}/comm") as file:
            if file.read().strip() == name[:15]:
                return pid
    raise RuntimeError(f"no {name} runs")


def cpu_ns(root):
    """User and system time so far: the living by their CPU clock (exact, all threads, ended ones too), the ended as
    their parents waited for them (whole ticks)."""
    total = 0
    for pid in tree(root):
        try:
            total += time.clock_gettime_ns((~pid << 3) | 2)  # the CPU clock of another process, clock_getcpuclockid(3)
            fields = _stat(pid)
            total += (int(fields[13]) + int(fields[14])) * TICK_NS
        except (OSError, ProcessLookupError):
            pass
    return total


def _rollup_pss(pid):
    with open(f"/proc/{pid}/smaps_rollup", "r") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _mapped_inodes(pid):
    with open(f"/proc/{pid}/maps", "r") as file:
        return {(fields[3], int(fields[4])) for fields in (line.split(None, 5) for line in file) if fields[4] != "0"}


def _open_shmem(pid, shmem_devices):
    """(device, inode) -> octets of every tmpfs file and memfd that the process has open."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            status = os.stat(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        if target.startswith("/memfd:") or device in shmem_devices:
            found[(device, status.st_ino)] = status.st_blocks * 512
    return found


def _shmem_devices():
    with open("/proc/self/mountinfo", "r") as file:
        mounts = [line.split() for line in file]
    devices = [fields[2].split(":") for fields in mounts if fields[fields.index("-") + 1] == "tmpfs"]
    return {f"{int(major):02x}:{int(minor):02x}" for major, minor in devices}


def memory(root):
    """PSS of all processes of the tree, and the tmpfs files and memfds that they hold open without mapping them."""
    devices = _shmem_devices()
    pss, held, mapped = 0, {}, set()
    for pid in tree(root):
        try:
            pss += _rollup_pss(pid)
            held.update(_open_shmem(pid, devices))
            mapped |= _mapped_inodes(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return pss + sum(octets for inode, octets in held.items() if inode not in mapped)


def system_shmem():
    """Shmem of /proc/meminfo: the whole machine, as a check of memory()."""
    with open("/proc/meminfo", "r") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Shmem:"))


class PeakMemory(threading.Thread):
    """Samples memory(root) while the context lasts; `peak` is the largest seen."""

    def __init__(self, root, every=0.02):
        super().__init__(daemon=True)
        self.root, self.every = root, every
        self.peak, self.samples = 0, 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(self.every):
            self.peak = max(self.peak, memory(self.root))
            self.samples += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
