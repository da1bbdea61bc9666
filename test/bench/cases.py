"""The measurements. Each case is one function: it starts what it needs, measures in interleaved rounds and returns
rows for the table. A row's `figure` is what the bar is about; `parts` are the medians it was made of."""
import statistics
import sys
import time

import measure

SETTLE = 0.2  # seconds after the last reply in which a proxy finishes what it does behind the client's back


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
    """Runs the generator; every message must have arrived, whole and once."""
    before = stage.sink_counts(sink)
    result = stage.finish(stage.load(port, "--messages", messages, *arguments))
    after = stage.sink_counts(sink)
    if after["messages"] - before["messages"] != messages or after["partial"] != before["partial"]:
        raise RuntimeError(f"sent {messages}, the sink has {before} -> {after}")
    return result


def cpu_per_message(stage, sink, proxy, messages, *arguments):
    """Microseconds of CPU that the proxy's whole tree spends per message."""
    loaded(stage, sink, proxy.port, max(messages // 20, 8), *arguments)  # warm-up
    time.sleep(SETTLE)
    before = measure.cpu_ns(proxy.pid)
    loaded(stage, sink, proxy.port, messages, *arguments)
    time.sleep(SETTLE)
    return (measure.cpu_ns(proxy.pid) - before) / 1e3 / messages


def proxies(stage, sink, scanning=False, downstream=None):
    found = {"HAProxy": stage.haproxy(sink)}
    if stage.options.gatepost:
        found["gatepost"] = stage.gatepost(sink, scanning, downstream)
    return found


def stop_all(stage, sink, found):
    for child in [*found.values(), sink]:
        stage.stop(child)


def relay_cpu(name, what, bar, full, *arguments, per=1.0, unit="µs", downstream=None):
    def case(stage):
        sink = stage.sink()
        found = proxies(stage, sink, downstream=downstream)
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


def started(stage, sink, proxy):
    # A connection that waits in the pool would be somebody's leg already.
    return stage.haproxy(sink) if proxy == "HAProxy" else stage.gatepost(sink, scanning=False, downstream={"reuse": False})


def idle(stage):
    sessions = 2000
    names = ["HAProxy"] + (["gatepost"] if stage.options.gatepost else [])
    spent = {proxy: [] for proxy in names}
    for number in range(min(stage.options.rounds, 3)):
        for proxy in names:
            sink = stage.sink()
            child = started(stage, sink, proxy)
            loaded(stage, sink, child.port, 200)  # what every first message touches belongs to the program
            time.sleep(SETTLE)
            open_before, before = stage.sink_counts(sink)["open"], measure.memory(child.pid)
            load = stage.load(child.port, "--idle", sessions)
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
    return [row("idle", "PSS per idle session, both legs open, 2000 sessions", "KiB", 8, spent.get("gatepost", []),
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


CASES = {
    "cpu2k": relay_cpu("cpu2k", "CPU per 2 KB message, one connection each, on both legs / HAProxy", 1.3, 20000,
                       downstream={"reuse": False}),
    "pooled": relay_cpu("pooled", "CPU per 2 KB message, one connection each, downstream's reused / HAProxy", 0.7, 20000),
    "reused": relay_cpu("reused", "CPU per 2 KB message, connections reused / HAProxy", 1.3, 20000, "--reuse"),
    "scan2k": scan_cpu("scan2k", "CPU per 2 KB message, scanning / (HAProxy + bare scan)", 1.25, 4000, "2K"),
    "scan100k": scan_cpu("scan100k", "CPU per 100 KB message, scanning / (HAProxy + bare scan)", 1.25, 400, "100K"),
    "idle": idle,
    "held": held,
    "big": relay_cpu("big", "CPU per MB of 25 MB messages, 8 senders / HAProxy", 2.5, 32, "--size", "25M",
                     per=25.0, unit="µs/MB"),
    "latency": latency,
}
