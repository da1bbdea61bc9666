#!/usr/bin/env python3
"""The three builds of test/run and what is run in each. Every single case is counted: doctest's and unittest's cases and
the seeds of the fuzz targets; a suite that does not say what it ran, or ran nothing, is a failure."""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections import namedtuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
E2E = os.path.join(ROOT, "test/e2e")
CORES = len(os.sched_getaffinity(0))
SUITE_SECONDS = 600

Build = namedtuple("Build", "directory what setup environment e2e")
Suite = namedtuple("Suite", "name command environment directory kind")
Case = namedtuple("Case", "name seconds outcome detail")  # outcome: passed, failed, skipped

SANITIZE = ["-Db_sanitize=address,undefined", "-Db_lundef=false"]
SANITIZED = {"ASAN_OPTIONS": "strict_string_checks=1:detect_leaks=1",
             "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1", "GATEPOST_SANITIZED": "1"}


def builds(full):
    clang = {"CXX": "clang++-19", "CC": "clang-19"}
    return [
        Build("build", "g++ -O2", ["-Doptimization=2"], {}, True),
        Build("build-asan", "g++ -O0, ASan and UBSan", ["-Doptimization=0", "-Ddebug=true", "-Dcpp_args=-g1", *SANITIZE],
              SANITIZED, full),
        Build("build-clang", "clang 19, ASan and UBSan" + ("" if full else ", codecs"),
              # clang's check of virtual tables opens a pipe, and so mistakes "no descriptors left" for a bad pointer.
              ["-Doptimization=1", "-Ddebug=true", *SANITIZE, "-Dcpp_args=-g1 -fno-sanitize=vptr", "-Dcodecs_only=" + ("false" if full else "true")],
              {**clang, **SANITIZED}, full),
    ]


def say(text):
    print(text, flush=True)


def run_quietly(command, environment):
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        say(done.stdout[-6000:])
    return done.returncode == 0


def targets_of(build):
    """Everything, or what the compiled suites run: without end-to-end tests nobody starts the programs themselves."""
    if build.e2e:
        return []
    listed = subprocess.run(["meson", "introspect", "--tests", build.directory], cwd=ROOT, capture_output=True, check=True)
    return sorted({os.path.relpath(test["cmd"][0], os.path.join(ROOT, build.directory)) for test in json.loads(listed.stdout)})


def compile_build(build):
    """Meson's own words only when something is wrong; ninja's every fiftieth step."""
    fresh = not os.path.exists(os.path.join(ROOT, build.directory, "build.ninja"))
    setup = ["meson", "setup", build.directory, *build.setup]
    if not run_quietly(setup if fresh else [*setup, "--reconfigure"], build.environment):
        return False
    ninja = subprocess.Popen(["chrt", "--idle", "0", "ninja", "-C", build.directory, f"-j{CORES}", *targets_of(build)], cwd=ROOT, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    output = []
    for line in ninja.stdout:
        step = re.match(r"\[(\d+)/(\d+)\]", line)
        if step and (int(step[1]) % 50 == 0 or step[1] == step[2]):
            say(f"  {build.directory} {step[0]}")
        elif not step:
            output.append(line)
    if ninja.wait() != 0:
        say("".join(output)[-6000:])
    return ninja.returncode == 0


def compiled_suites(build):
    """What the Meson files declare; doctest's programs report their cases, the others are replays of seeds."""
    listed = subprocess.run(["meson", "introspect", "--tests", build.directory], cwd=ROOT, capture_output=True, check=True)
    for test in json.loads(listed.stdout):
        command = list(test["cmd"])
        if build.directory == "build-asan" and not build.e2e and test["name"] == "vanish everywhere":
            command.append("--test-case-exclude=*resets*")  # a minute; g++ -O2 has them, and --full
        replay = any(name.split(":")[-1] == "fuzz" for name in test["suite"])
        yield Suite(f"{build.directory}: {test['name']}", command, {**build.environment, **test["env"]},
                    test["workdir"] or ROOT, "seeds" if replay else "doctest")


def python_suites(build):
    environment = {**build.environment, "GATEPOST_BUILD": build.directory,
                   "GATEPOST_SCANNER": os.path.join(ROOT, build.directory, "scanner/gatepost-scanner")}
    files = [os.path.join(ROOT, "test/style_test.py")] if build.directory == "build" else []
    if build.e2e:
        files += sorted(os.path.join(E2E, name) for name in os.listdir(E2E) if name.endswith("_test.py"))
    for file in files:
        yield Suite(f"{build.directory}: {os.path.relpath(file, ROOT)}",
                    [sys.executable, os.path.join(ROOT, "test/unittest_report.py"), file], environment,
                    os.path.dirname(file), "unittest")


def run_suite(suite):
    with tempfile.TemporaryDirectory() as scratch:
        report = os.path.join(scratch, "report")
        command = [*suite.command]
        if suite.kind == "doctest":
            command += ["--reporters=junit", f"--out={report}"]
        elif suite.kind == "unittest":
            command += [report]
        began = time.monotonic()
        try:
            done = subprocess.run(command, cwd=suite.directory, env={**os.environ, **suite.environment},
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=SUITE_SECONDS)
            status, said = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as late:
            status, said = "no end", (late.stdout or b"").decode("utf-8", "replace")
        seconds = time.monotonic() - began
        try:
            cases = {"doctest": doctest_cases, "unittest": unittest_cases, "seeds": seed_cases}[suite.kind](report, said, seconds)
        except (OSError, ValueError, xml.etree.ElementTree.ParseError) as error:
            cases = [Case("report", seconds, "failed", f"{error}; ended with {status}\n{said[-2000:]}")]
    if not cases:
        cases = [Case("ran nothing", seconds, "failed", "no case was run")]
    if status != 0 and not any(case.outcome == "failed" for case in cases):
        cases.append(Case("exit status", seconds, "failed", f"ended with {status}"))
    return suite, [case._replace(name=f"{suite.name}: {case.name}") for case in cases], said


def doctest_cases(report, _, __):
    cases = []
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        trouble = [node.get("message", "") + (node.text or "") for tag in ("failure", "error") for node in case.findall(tag)]
        cases.append(Case(case.get("name"), float(case.get("time") or 0), "failed" if trouble else "passed", "\n".join(trouble)))
    return cases


def unittest_cases(report, _, __):
    with open(report) as file:
        return [Case(*each) for each in json.load(file)]


def seed_cases(_, said, seconds):
    count = int(re.search(r"(\d+) inputs replayed", said)[1]) if "inputs replayed" in said else 0
    return [Case(f"seed {number + 1}", seconds / count, "passed", "") for number in range(count)]


def run_suites(suites):
    """In parallel; failures are shown at once. Servers and clients wait for each other most of the time, so that more of
    these fit than there are cores."""
    cases = []
    waiting = any(suite.kind == "unittest" for suite in suites)
    with concurrent.futures.ThreadPoolExecutor(CORES * 2 if waiting else CORES) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run_suite, suite) for suite in suites]):
            suite, ran, said = future.result()
            cases += ran
            failed = [case for case in ran if case.outcome == "failed"]
            say(f"  {suite.name}: {len(ran)} cases" + (f", {len(failed)} FAILED" if failed else ""))
            for case in failed:
                say(f"FAILED {case.name}\n{case.detail[-3000:]}")
            if failed and not any(case.detail for case in failed):
                say(said[-3000:])
    return cases


def summary(cases, began):
    for case in cases:
        if case.outcome == "skipped":
            say(f"skipped: {case.name}: {case.detail}")
    say("slowest:")
    for case in sorted(cases, key=lambda case: case.seconds, reverse=True)[:10]:
        say(f"  {case.seconds:6.1f} s  {case.name}")
    failed = [case.name for case in cases if case.outcome == "failed"]
    for name in failed:
        say(f"failed: {name}")
    say(f"[{time.monotonic() - began:.0f} s] all")
    count = {outcome: sum(case.outcome == outcome for case in cases) for outcome in ("passed", "failed", "skipped")}
    say(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if failed or not count["passed"] else 0


def compile_timed(build):
    began = time.monotonic()
    return compile_build(build), time.monotonic() - began


def run_build(build, outcome, only):
    """Its cases, once it is compiled."""
    good, seconds = outcome.result()
    if not good:
        return [Case(f"{build.directory}: does not build", 0, "failed", "")]
    say(f"[{seconds:.0f} s] built {build.directory} ({build.what})")
    began = time.monotonic()
    suites = [suite for suite in [*python_suites(build), *compiled_suites(build)] if only in suite.name]
    cases = run_suites(suites) if suites else []
    say(f"[{time.monotonic() - began:.0f} s] ran {len(suites)} suites in {build.directory}")
    return cases


def main():
    parser = argparse.ArgumentParser(prog="test/run")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    cases, began = [], time.monotonic()
    if options.full:
        os.environ["GATEPOST_FULL"] = "1"
    # The next one is compiled while the suites of the one before it run, which wait most of their time: with what the suites
    # leave of the processors, so that nobody who waits for a reply waits for a compiler.
    with concurrent.futures.ThreadPoolExecutor(1) as compiler:
        compiled = [(build, compiler.submit(compile_timed, build)) for build in builds(options.full)]
        for build, outcome in compiled:
            cases += run_build(build, outcome, options.only)
    return summary(cases, began)


if __name__ == "__main__":
    sys.exit(main())
