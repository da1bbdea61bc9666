"""For programs that cannot take port 0."""
import random
import socket

FIRST = 10000


def _ephemeral():
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        return int(file.read().split()[0])


def free_port():
    """A port that stays this process's until it ends. The kernel gives it to nobody, being below those that it gives for
    port 0 and to clients; and no other suite takes it in the moments before its program listens: a UNIX socket's name, in
    the same network namespace, says that it is taken."""
    while True:
        port = random.randrange(FIRST, _ephemeral())
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0gatepost-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        mark.detach()  # open until the process ends
        return port
