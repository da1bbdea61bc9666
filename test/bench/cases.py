"""The measurements. Each case is one function: it starts what it needs, measures in interleaved rounds and returns
rows for the table. A row's `figure` is what the bar is about; `parts` are the medians it was made of."""
import statistics
import sys
import time

import measure

CLIENTS = 8  # of the generator at once, as it has them by itself
SETTLE = 0.2  # seconds after the last reply in which a proxy finishes what it does behind the client's back

# One connection to the downstream per client's, as HAProxy has it; one that waits in the pool would be somebody's leg.
OWN_LEG = {"reuse": False}
COMMANDS = {"greeting": "connect"}  # what waits for a reply, where it is not called as the generator's step


def say(text):
    print(text, file=sys.stderr, flush=True)


def row(name, what, unit, bar, figures, parts):
    """figures: one per round (empty = nothing to compare). parts: name -> one value per round, in `unit` of its own."""
    return {"case": name, "what": what, "unit": unit, "bar": bar,
            "figure": statistics.median(figures) if figures else None,
            "lowest": min(figures, default=None), "highest": max(figures, default=None), "rounds": figures,
            "parts": {part: statistics.median(values) for part, values in parts.items() if values}}


def ratios(mine, *others):
    """Round by round, so that a machine that is slow for a minute is slow for both."""
    return [own / sum(rest) for own, *rest in zip(mine, *others)]


def loaded(stage, sink, port, messages, *arguments):
    """Runs the generator; every message must have arrived, whole and once, and every handshake been what was asked."""
    before = stage.sink_counts(sink)
    result = stage.finish(stage.load(port, "--messages", messages, *arguments))
    after = stage.sink_counts(sink)
    if after["messages"] - before["messages"] != messages or after["partial"] != before["partial"]:
        raise RuntimeError(f"sent {messages}, the sink has {before} -> {after}")
    full = result.get("handshakes", 0) - result.get("resumed", 0)
    if "--tls-resume" in arguments and full > CLIENTS or "--tls" in arguments and result["resumed"] > 0:
        raise RuntimeError(f"{full} of {result['handshakes']} handshakes were full")
    if result.get("tickets", 0) != result.get("handshakes", 0):
        raise RuntimeError(f"{result['tickets']} tickets after {result['handshakes']} handshakes, not one each")
    return result


def cpu_per_message(stage, sink, proxy, messages, *arguments):
    """Microseconds of CPU that the proxy's whole tree spends per message."""
    loaded(stage, sink, proxy.port, max(messages // 20, 8), *arguments)  # warm-up
    time.sleep(SETTLE)
    before = measure.cpu_ns(proxy.pid)
    loaded(stage, sink, proxy.port, messages, *arguments)
    time.sleep(SETTLE)
    return (measure.cpu_ns(proxy.pid) - before) / 1e3 / messages


def proxies(stage, sink, scanning=False, downstream=None, tls=False):
    found = {"HAProxy": stage.haproxy(sink, tls)}
    if stage.options.gatepost:
        found["gatepost"] = stage.gatepost(sink, scanning, downstream, tls)
    return found


def stop_all(stage, sink, found):
    for child in [*found.values(), sink]:
        stage.stop(child)


def relay_cpu(name, what, bar, full, *arguments, per=1.0, unit="µs", downstream=None):
    def case(stage):
        sink = stage.sink()
        tls = "--tls" in arguments or "--tls-resume" in arguments
        found = proxies(stage, sink, downstream=downstream, tls=tls)
        spent = {proxy: [] for proxy in found}
        for number in range(stage.options.rounds):
            for proxy, child in found.items():
                used = cpu_per_message(stage, sink, child, stage.options.scaled(full), *arguments) / per
                spent[proxy].append(used)
                say(f"  round {number + 1}: {proxy} {used:.1f} {unit}")
        stop_all(stage, sink, found)
        figures = ratios(spent["gatepost"], spent["HAProxy"]) if "gatepost" in spent else []
        return [row(name, what, "×", bar, figures, {f"{proxy} {unit}": values for proxy, values in spent.items()})]
    return case


def scan_cpu(name, what, bar, full, size):
    def case(stage):
        with stage.unpinned():  # gatepost's processes run beside each other; HAProxy and the bare loop are one each
            return measured(stage)

    def measured(stage):
        sink = stage.sink()
        found = proxies(stage, sink, scanning=True)
        messages = stage.options.scaled(full)
        spent = {proxy: [] for proxy in [*found, "bare scan"]}
        for number in range(stage.options.rounds):
            for proxy, child in found.items():
                spent[proxy].append(cpu_per_message(stage, sink, child, messages, "--size", size))
            bare = stage.bare_scan("--messages", messages, "--size", size)
            spent["bare scan"].append(bare["cpu_us_per_message"])
            say(f"  round {number + 1}: " + ", ".join(f"{part} {values[-1]:.1f} µs" for part, values in spent.items()))
        stop_all(stage, sink, found)
        figures = ratios(spent["gatepost"], spent["HAProxy"], spent["bare scan"]) if "gatepost" in spent else []
        return [row(name, what, "×", bar, figures, {f"{part} µs": values for part, values in spent.items()})]
    return case


def one_after_the_other(*cases):
    return lambda stage: [found for case in cases for found in case(stage)]


def started(stage, sink, proxy, tls=False):
    if proxy == "HAProxy":
        return stage.haproxy(sink, tls)
    return stage.gatepost(sink, scanning=False, downstream=OWN_LEG, tls=tls)


def idle(stage):
    return idle_memory(stage, "idle", "PSS per idle session, both legs open, 2000 sessions", 5)


def idle_tls(stage):
    return idle_memory(stage, "idle_tls", "PSS per idle session, TLS with the client, both legs open, 2000 sessions", 30,
                       "--tls")


def idle_memory(stage, case, what, bar, *arguments):
    sessions = 2000
    names = ["HAProxy"] + (["gatepost"] if stage.options.gatepost else [])
    spent = {proxy: [] for proxy in names}
    for number in range(min(stage.options.rounds, 3)):
        for proxy in names:
            sink = stage.sink()
            child = started(stage, sink, proxy, tls=bool(arguments))
            loaded(stage, sink, child.port, 200, *arguments)  # what every first message touches belongs to the program
            time.sleep(SETTLE)
            open_before, before = stage.sink_counts(sink)["open"], measure.memory(child.pid)
            load = stage.load(child.port, "--idle", sessions, *arguments)
            ready = int(load.line().split()[1])
            time.sleep(SETTLE)
            legs = stage.sink_counts(sink)["open"] - open_before
            octets = measure.memory(child.pid) - before
            load.tell("end\n")
            held = stage.finish(load)["idle"]
            if not ready == legs == held == sessions:
                raise RuntimeError(f"{proxy}: {ready} sessions ready, {held} held, {legs} downstream legs open")
            spent[proxy].append(octets / 1024 / sessions)
            say(f"  round {number + 1}: {proxy} {spent[proxy][-1]:.2f} KiB per session")
            stage.stop(child)
            stage.stop(sink)
    return [row(case, what, "KiB", bar, spent.get("gatepost", []),
                {f"{proxy} KiB": values for proxy, values in spent.items()})]


def held(stage):
    names = ["HAProxy"] + (["gatepost"] if stage.options.gatepost else [])
    peaks = {proxy: [] for proxy in names}
    parts = {}
    for number in range(min(stage.options.rounds, 3)):
        for proxy in names:
            sink = stage.sink()
            child = started(stage, sink, proxy)
            shmem, before = measure.system_shmem(), stage.sink_counts(sink)["messages"]
            with measure.PeakMemory(child.pid) as sampler:
                load = stage.load(child.port, "--connections", 32, "--messages", 32, "--size", "25M",
                                  "--hold-before-dot")
                count = int(load.line().split()[1])
                holding, shmem_now = measure.memory(child.pid), measure.system_shmem()
                load.tell()
                stage.finish(load)
            peak = sampler.peak
            if count != 32 or stage.sink_counts(sink)["messages"] - before != 32:
                raise RuntimeError(f"{proxy}: {count} of 32 messages were held at once")
            peaks[proxy].append(peak / 2**20)
            parts.setdefault(f"{proxy} MiB", []).append(peak / 2**20)
            parts.setdefault(f"{proxy} MiB while held", []).append(holding / 2**20)
            parts.setdefault(f"{proxy} machine's Shmem grew by MiB", []).append((shmem_now - shmem) / 2**20)
            say(f"  round {number + 1}: {proxy} peak {peak / 2**20:.1f} MiB, while held {holding / 2**20:.1f} MiB, "
                f"{sampler.samples} samples")
            stage.stop(child)
            stage.stop(sink)
    return [row("held", "32 × 25 MB at once, peak PSS + shmem", "MiB", 150, peaks.get("gatepost", []), parts)]


def latency(stage):
    with stage.unpinned():  # a core of its own means a wake-up from sleep for every step: a message alone has none
        return latencies(stage)


def latencies(stage):
    sink = stage.sink()
    found = {"direct": sink, "HAProxy": stage.haproxy(sink)}
    if stage.options.gatepost:
        found["gatepost"] = stage.gatepost(sink, scanning=False)
        found["gatepost, scanning"] = stage.gatepost(sink, scanning=True)
    messages = stage.options.scaled(200)
    medians = {name: [] for name in [*found, "bare scan"]}
    for number in range(stage.options.rounds):
        for name, child in found.items():
            medians[name].append(loaded(stage, sink, child.port, messages, "--rate", 40)["median_us"])
        medians["bare scan"].append(stage.bare_scan("--messages", messages, "--rate", 40)["median_us"])
        say(f"  round {number + 1}: " + ", ".join(f"{name} {values[-1]:.0f} µs" for name, values in medians.items()))
    stop_all(stage, sink, {name: child for name, child in found.items() if child is not sink})
    adds = {name: [value - direct for value, direct in zip(values, medians["direct"])]
            for name, values in medians.items()}
    parts = {f"{name} µs": values for name, values in medians.items()}
    what = "final dot to reply at 40 messages/s, added to direct"
    return [row("latency", what, "µs", 150, adds.get("gatepost", []), parts),
            row("latency", what + ", HAProxy", "µs", None, adds["HAProxy"], {}),
            row("latency", what + ", scanning", "µs", 700, adds.get("gatepost, scanning", []), {})]


def commands(stage):
    """Each command's wait for its reply; one client, one connection per message, as fast as replies come."""
    sink = stage.sink()
    found = {"direct": sink, "HAProxy": stage.haproxy(sink)}
    if stage.options.gatepost:
        found["gatepost"] = stage.gatepost(sink, scanning=False, downstream=OWN_LEG)
        found["gatepost, reuse"] = stage.gatepost(sink, scanning=False)
    messages = stage.options.scaled(2000)
    rounds = {name: [] for name in found}
    for number in range(min(stage.options.rounds, 3)):
        for name, child in found.items():
            loaded(stage, sink, child.port, messages // 20, "--connections", 1)  # warm-up
            rounds[name].append(loaded(stage, sink, child.port, messages, "--connections", 1,
                                       "--per-command")["commands"])
        say(f"  round {number + 1}: " + "; ".join(
            f"{name} " + " ".join(f"{wait['median']:.0f}" for wait in waits[-1].values())
            for name, waits in rounds.items()) + " µs")
    stop_all(stage, sink, {name: child for name, child in found.items() if child is not sink})
    names = ["gatepost", "gatepost, reuse"] if stage.options.gatepost else []
    return [command_row(rounds, name, command) for name in names for command in rounds["direct"][0]]


def command_row(rounds, name, command):
    """What gatepost adds to direct, less 1.2 times what HAProxy adds: the worse of median and p90."""
    def excess(share):
        return [own[command][share] - direct[command][share] - 1.2 * (other[command][share] - direct[command][share])
                for own, direct, other in zip(rounds[name], rounds["direct"], rounds["HAProxy"])]

    figures = [max(pair) for pair in zip(excess("median"), excess("p90"))]
    parts = {f"{part} {share}": [waits[command][share] for waits in rounds[part]]
             for part in ("direct", "HAProxy", name) for share in ("median", "p90")}
    asked = COMMANDS.get(command, command)
    kept = "downstream's connections reused" if name.endswith("reuse") else "one connection each, on both legs"
    return row("commands", f"{asked} to reply ({kept}): added to direct − 1.2 × HAProxy's", "µs", 50, figures, parts)


CASES = {
    "cpu2k": relay_cpu("cpu2k", "CPU per 2 KB message, one connection each, on both legs / HAProxy", 1.1, 20000,
                       downstream=OWN_LEG),
    "pooled": relay_cpu("pooled", "CPU per 2 KB message, one connection each, downstream's reused / HAProxy", 0.7, 20000),
    "reused": relay_cpu("reused", "CPU per 2 KB message, connections reused / HAProxy", 1.1, 20000, "--reuse"),
    "tls": one_after_the_other(
        relay_cpu("tls", "CPU per 2 KB message, TLS, one connection each, full handshakes / HAProxy", 1.1, 8000, "--tls",
                  downstream=OWN_LEG),
        relay_cpu("tls", "CPU per 2 KB message, TLS, one connection each, resumed / HAProxy", 1.1, 8000, "--tls-resume",
                  downstream=OWN_LEG),
        relay_cpu("tls", "CPU per 2 KB message, TLS, connections reused / HAProxy", 1.1, 20000, "--tls", "--reuse")),
    "scan2k": scan_cpu("scan2k", "CPU per 2 KB message, scanning / (HAProxy + bare scan)", 1.25, 4000, "2K"),
    "scan100k": scan_cpu("scan100k", "CPU per 100 KB message, scanning / (HAProxy + bare scan)", 1.25, 400, "100K"),
    "idle": idle,
    "idle_tls": idle_tls,
    "held": held,
    "big": relay_cpu("big", "CPU per MB of 25 MB messages, 8 senders / HAProxy", 2.5, 32, "--size", "25M",
                     per=25.0, unit="µs/MB"),
    "latency": latency,
    "commands": commands,
}
