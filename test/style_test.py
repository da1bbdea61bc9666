#!/usr/bin/env python3
"""The rules of the house that a machine can check: who includes whom, who owns a foreign header, what the protocol
library may link, where g++ 12 miscompiles coroutines, how long a file and a function may be, and which words say nothing."""
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("GATEPOST_BUILD", "build"))
FOLDERS = ("protocol", "scanner", "config", "firewall", "proxy")

# What may be included: folder -> prefixes of headers. The longest key that fits a file counts; its own folder is always
# allowed. Headers named one by one are values that everybody shares.
ALLOWED = {
    "protocol": [],
    "scanner": ["protocol/"],
    "config": ["protocol/"],
    "firewall": ["config/", "protocol/"],
    "proxy/io": ["config/config.h", "scanner/packet_socket.h"],
    "proxy/judge": ["proxy/io/", "config/", "protocol/", "scanner/report.h", "scanner/job.h", "scanner/packet_socket.h",
                    "proxy/keeper/request.h"],
    "proxy/keeper": ["proxy/io/", "config/", "protocol/", "proxy/admin/log.h", "proxy/supervisor/control.h",
                     "scanner/packet_socket.h"],
    "proxy/session": ["proxy/io/", "proxy/judge/", "config/", "protocol/", "firewall/", "proxy/admin/log.h"],
    "proxy/supervisor": ["proxy/", "protocol/", "scanner/", "config/", "firewall/"],
    "proxy/admin": ["proxy/", "protocol/", "scanner/", "config/", "firewall/"],
    "proxy": ["proxy/", "protocol/", "scanner/", "config/", "firewall/"],
}
# Used from others than these, supervisor and admin would turn the direction around. Their values may be shared.
ONLY_FOR_MAIN = {"proxy/supervisor": ["proxy/supervisor/control.h", "proxy/supervisor/window.h"],
                 "proxy/admin": ["proxy/admin/log.h", "proxy/admin/escape.h"]}

OWNERS = {  # foreign header -> the files that may include it
    r"event2?[./].*": ["proxy/io/event_loop.cc"],
    r"unbound(-event)?\.h": ["proxy/io/resolver.cc"],
    r"clamav\.h": ["scanner/engine.cc"],
    r"libnetfilter_queue/.*|linux/netfilter/.*": ["firewall/gate/queue.cc"],
    r"libmnl/.*": ["firewall/gate/queue.cc", "firewall/diverted.cc"],
    r"openssl/.*": ["proxy/io/digest.cc"] + [f"proxy/io/tls_{name}" for name in ("openssl.h", "openssl.cc", "base_context.cc", "client_context.cc",
                                                        "local_ca.cc", "server_context.cc", "stream.cc", "tickets.cc")],
}
AT_MOST_TWO = (r"nlohmann/.*", r"CLI/.*", r"spdlog/.*")  # .cc files each: they cost compile time

# What a library without I/O does not call.
FORBIDDEN_SYMBOLS = re.compile(
    r"^_*(socket|connect|accept4?|bind|listen|send(to|msg|file)?|recv(from|msg)?|getaddrinfo|open(at)?(64)?|fopen(64)?|"
    r"read|write|readv|writev|pread(64)?|pwrite(64)?|close|stat(64)?|fstat(64)?|poll|ppoll|select|epoll_.*|event_.*|"
    r"bufferevent_.*|evbuffer_.*|clock_gettime|gettimeofday|time|nanosleep|usleep|sleep|fork|execve.*|pthread_create|"
    r"syslog|printf|puts|putchar|fwrite|fputs|getenv)$|std::chrono|std::filesystem|basic_[io]?fstream|std::cout|std::cerr|nlohmann|fmt::v")


def sources(*folders, extensions=(".h", ".cc")):
    for folder in folders or FOLDERS:
        for parent, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith(extensions):
                    yield os.path.relpath(os.path.join(parent, name), ROOT)


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def blank(match):
    """As many lines, nothing on them."""
    return re.sub(r"[^\n]", " ", match[0])


TOKENS = re.compile(r'R"(\w*)\((?:.|\n)*?\)\1"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*(?:.|\n)*?\*/|(?<!\w)\'(?:\\.|[^\'\\\n])*\'')


def code_of(name):
    """Without comments and the insides of literals; line numbers stay."""
    return TOKENS.sub(blank, text_of(name))


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def includes(name):
    for number, line in enumerate(text_of(name).splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*(<|")([^>"]+)[>"]', line)
        if found:
            yield number, found[1], found[2]


def folder_of(name):
    return max((key for key in ALLOWED if name.startswith(key + "/")), key=len)


def statement_from(code, at):
    """To the `;` that ends the statement, or to the bracket that closes what is around it: a condition, a block."""
    depth = 0
    for end in range(at, len(code)):
        if code[end] in "({[":
            depth += 1
        elif code[end] in ")}]":
            depth -= 1
            if depth < 0:
                return code[at:end]
        elif code[end] == ";" and depth <= 0:
            return code[at:end]
    return code[at:]


def functions(code):
    """(line, lines) of every outermost `) ... { ... }` that is no control statement, roughly."""
    for found in re.finditer(r"\)\s*(?:const|noexcept|override|final|&|->\s*[\w:<>*&, ]+|\s|:\s*[^;{}]*?\)|:\s*[^;{}]*?\}(?=\s*\{))*\{", code):
        before = code[:found.start() + 1]
        depth, at = 0, len(before)
        while at:
            at -= 1
            depth += (before[at] == ")") - (before[at] == "(")
            if depth == 0:
                break
        name = re.search(r"([\w~]+|operator\W+)\s*$", before[:at])
        if not name or name[1] in ("if", "for", "while", "switch", "catch", "return", "constexpr", "sizeof"):
            continue
        begin = found.end()
        depth, end = 1, begin
        while end < len(code) and depth:
            depth += (code[end] == "{") - (code[end] == "}")
            end += 1
        yield line_of(code, found.start()), name[1], code.count("\n", found.start(), end) + 1


class Includes(unittest.TestCase):
    def test_there_is_something_to_check(self):
        self.assertGreater(sum(1 for _ in sources()), 100)

    def test_dependency_direction(self):
        wrong = []
        for name in sources():
            folder = folder_of(name)
            for number, kind, header in includes(name):
                if kind != '"' or not header.startswith(tuple(f"{each}/" for each in FOLDERS)):
                    continue
                allowed = [folder + "/", *ALLOWED[folder]]
                if not header.startswith(tuple(allowed)):
                    wrong.append(f"{name}:{number}: {folder} may not include {header}")
        self.assertEqual(wrong, [])

    def test_supervisor_and_admin_are_for_main_alone(self):
        wrong = []
        for name in sources("proxy"):
            for number, _, header in includes(name):
                for owner, shared in ONLY_FOR_MAIN.items():
                    inside = name.startswith(("proxy/supervisor/", "proxy/admin/")) or os.path.dirname(name) == "proxy"
                    if header.startswith(owner + "/") and header not in shared and not inside:
                        wrong.append(f"{name}:{number}: {header}")
        self.assertEqual(wrong, [])

    def test_includes_are_from_the_top(self):
        wrong = [f"{name}:{number}: {header}" for name in sources() for number, kind, header in includes(name)
                 if kind == '"' and not os.path.exists(os.path.join(ROOT, header))
                 and header != "embedded_signatures.h"]  # made by the build
        self.assertEqual(wrong, [])

    def test_one_owner_per_foreign_header(self):
        wrong = []
        for name in sources():
            for number, _, header in includes(name):
                for pattern, owners in OWNERS.items():
                    if re.fullmatch(pattern, header) and name not in owners:
                        wrong.append(f"{name}:{number}: {header}")
        self.assertEqual(wrong, [])

    def test_costly_headers(self):
        for pattern in AT_MOST_TWO:
            users = sorted({name for name in sources() for _, _, header in includes(name) if re.fullmatch(pattern, header)})
            self.assertLessEqual(len(users), 2, users)
            self.assertFalse([name for name in users if name.endswith(".h")], users)

    def test_protocol_links_no_io(self):
        library = os.path.join(BUILD, "protocol/libprotocol.a")
        listed = subprocess.run(["nm", "--undefined-only", "--demangle", "--format=just-symbols", library],
                                capture_output=True, text=True, check=True)
        symbols = {line.split("@")[0].strip() for line in listed.stdout.splitlines() if line.strip() and not line.endswith(":")}
        self.assertGreater(len(symbols), 10)
        self.assertEqual(sorted(symbol for symbol in symbols if FORBIDDEN_SYMBOLS.search(symbol)), [])


class Coroutines(unittest.TestCase):
    """What g++ 12 compiles wrongly; see the rules in README."""

    def test_no_braces_or_captures_in_a_statement_that_awaits(self):
        wrong = []
        for name in sources():
            code = code_of(name)
            for found in re.finditer(r"\bco_await\b", code):
                statement = statement_from(code, found.start())
                if re.search(r"[{\[]", statement):
                    wrong.append(f"{name}:{line_of(code, found.start())}: {statement.strip()[:80]}")
            for found in re.finditer(r"\bco_return\b", code):
                statement = statement_from(code, found.end())
                if re.search(r"\{", statement):  # an aggregate; [ is an index there, or a lambda that comes with a brace
                    wrong.append(f"{name}:{line_of(code, found.start())}: co_return{statement.strip()[:80]}")
        self.assertEqual(wrong, [])

    def test_no_await_in_catch(self):
        wrong = []
        for name in sources():
            code = code_of(name)
            for found in re.finditer(r"\bcatch\s*\([^)]*\)\s*\{", code):
                depth, end = 1, found.end()
                while end < len(code) and depth:
                    depth += (code[end] == "{") - (code[end] == "}")
                    end += 1
                if "co_await" in code[found.end():end]:
                    wrong.append(f"{name}:{line_of(code, found.start())}")
        self.assertEqual(wrong, [])

    def test_await_suspend_returns_bool_or_nothing(self):
        wrong = [f"{name}:{line_of(code_of(name), found.start())}" for name in sources()
                 for found in re.finditer(r"\bcoroutine_handle<[^>]*>\s+await_suspend\b", code_of(name))
                 if name != "proxy/io/task.h"]  # its final_suspend hands back to the awaiter, once per task
        self.assertEqual(wrong, [])

    def test_the_check_itself(self):
        self.assertIn("{", statement_from("x = co_await f(A{1});", 4))
        self.assertIn("[", statement_from("co_await f([&] { return 1; });", 0))
        self.assertNotIn("{", statement_from("if (co_await f()) { g(); }", 4))
        self.assertNotIn("[", statement_from("while (!co_await f(a)) b[0] = 1;", 8))


class Shape(unittest.TestCase):
    def test_length_of_files(self):
        names = [*sources(), *sources("test", "appliance", extensions=(".h", ".cc", ".py"))]
        long = [f"{name}: {count} lines" for name in names
                if (count := text_of(name).count("\n")) > 400]
        self.assertEqual(long, [])

    def test_length_of_functions(self):
        long = [f"{name}:{line}: {what} has {count} lines" for name in sources()
                for line, what, count in functions(code_of(name)) if count > 42]  # 40 and the lines of its braces
        self.assertEqual(long, [])

    def test_names_that_say_nothing(self):
        words = re.compile(r"(^|_)(handler|manager|helper|helpers|util|utils|misc|common_utils|data|info|stuff)(_|\.|$)")
        wrong = [name for name in sources() if words.search(os.path.basename(name)) and os.path.basename(name) not in TERMS]
        self.assertEqual(wrong, [])

    def test_headers_say_what_they_promise(self):
        wrong = [name for name in sources(extensions=(".h",)) if not text_of(name).startswith("//")
                 or "#pragma once" not in text_of(name)]
        self.assertEqual(wrong, [])

    def test_json_is_never_dumped_without_replacing(self):
        wrong = [f"{name}:{line_of(code_of(name), found.start())}" for name in sources()
                 for found in re.finditer(r"\.dump\s*\(", code_of(name))
                 if "error_handler_t::replace" not in statement_from(code_of(name), found.start())]
        self.assertEqual(wrong, [])

    def test_no_path_of_one_machine(self):
        names = [*sources(), *sources("test", "appliance", extensions=(".h", ".cc", ".py", ".build", "run", ".json"))]
        wrong = [f"{name}: {found[0]}" for name in names
                 for found in re.finditer(r"/(work|home|root)/[\w./-]+", text_of(name))
                 if name != "test/style_test.py"]
        self.assertEqual(wrong, [])


TERMS = ("end_of_data.h", "end_of_data.cc")  # end of data is SMTP's word

if __name__ == "__main__":
    unittest.main()
