"""A pair's cell in the table: what client and server do without gatepost, and whether they do the same through it."""
import re
from collections import namedtuple

from .stage import NO_LISTENER, REFERENCE

Cell = namedtuple("Cell", "direct through reason")  # words of the table; `reason` for n/a, FAILED and what is odd

# Until gatepost offers these to clients, their cases do not apply; any other keyword that it withholds is a failure.
MAY_LACK = {b"STARTTLS", b"CHUNKING"}


class Direct:
    """Results without gatepost, each measured once."""

    def __init__(self, stage):
        self.stage, self._known = stage, {}

    def of(self, case, client, server):
        key = (case.name, client, server)
        if key not in self._known:
            result = self.stage.attempt(case, client, server, through=False)
            if result.status != "n/a" and not result.used:
                lacks = case.keyword and case.keyword not in result.offered
                reason = f"{server} does not offer {case.keyword.decode()}" if lacks else f"{client} does not use it"
                result = result._replace(status="n/a", reason=reason)
            self._known[key] = result
        return self._known[key]


def cell(stage, direct, case, client, server):
    protocols = stage.clients[client].protocol, stage.servers[server].protocol
    if protocols[0] == protocols[1]:
        before = direct.of(case, client, server)
        expected, word = before, {"n/a": "n/a", "delivered": "ok", "refused": code_of(before)}[before.status]
    else:
        expected, word = bridged(direct, case, client, server, protocols), "-"
    if case.keyword == b"STARTTLS":  # each leg has its own: what the server can is gatepost's affair
        expected = direct.of(case, client, REFERENCE[protocols[0]])
    if expected.status == "n/a":
        return Cell(word, "n/a", expected.reason)
    original = case.make().as_stored()
    altered = expected.status == "delivered" and any(
        content != original for copies in expected.stored.values() for content in copies)
    word = "altered" if altered and word == "ok" else word
    got = stage.attempt(case, client, server, through=True)
    if got.reason == NO_LISTENER:
        return Cell(word, "n/a", NO_LISTENER)
    trouble = difference(case, expected, got)
    if trouble and case.keyword in MAY_LACK and case.keyword not in got.offered:
        return Cell(word, "n/a", f"gatepost does not offer {case.keyword.decode()}")
    return Cell(word, "FAILED" if trouble else "ok" if expected.status == "delivered" else code_of(got), trouble)


def bridged(direct, case, client, server, protocols):
    """Between SMTP and LMTP: what the client can with a server of its own kind, and the server with a client of its own."""
    able = direct.of(case, client, REFERENCE[protocols[0]])
    if able.status != "delivered":
        return able
    if any(content != case.make().as_stored() for copies in able.stored.values() for content in copies):
        return able._replace(status="n/a", reason=f"{client} alters it by itself")
    return direct.of(case, "plain-" + protocols[1], server)


def code_of(result):
    return result.reason[:3] if re.match(r"[245]\d\d", result.reason) else "refused"


def difference(case, expected, got):
    """What is wrong with an attempt through gatepost; "" if nothing is."""
    if case.keyword and case.keyword not in got.offered:
        return f"withheld: {case.keyword.decode()}"
    if got.status != expected.status:
        return f"{got.status} ({got.reason[:150]!r}) where it is {expected.status} without gatepost ({expected.reason[:150]!r})"
    if expected.status == "refused":
        return "" if code_of(got) == code_of(expected) else f"refused {got.reason[:150]!r}, without gatepost {expected.reason[:150]!r}"
    if not got.used:
        return "the case's feature was not used"
    if case.keyword == b"STARTTLS" and got.bare:
        return "the server offers STARTTLS, gatepost did not take it"
    if sorted(got.stored) != sorted(expected.stored) or any(len(copies) != 1 for copies in got.stored.values()):
        return f"copies for {len(got.stored)} recipients, {len(expected.stored)} without gatepost"
    for recipient, copies in got.stored.items():
        if copies != expected.stored[recipient]:
            return f"stored for {recipient}: " + where_different(copies[0], expected.stored[recipient][0])
    return wire_difference(got.outer, got.inner)


def wire_difference(outer, inner):
    """Both taps saw the same envelope and the same octets; SIZE may differ."""
    if not outer or not inner:  # inside TLS
        return ""
    for before, behind in zip(outer, inner):
        if unstuffed(before) != unstuffed(behind):
            return "on the wire: " + where_different(unstuffed(behind), unstuffed(before))
        for line, passed in zip([before.sender, *before.recipients], [behind.sender, *behind.recipients]):
            if parameters(line) != parameters(passed):
                return f"{line!r} became {passed!r}"
    return "" if len(outer) == len(inner) else f"{len(outer)} messages before gatepost, {len(inner)} behind it"


def unstuffed(message):
    return re.sub(rb"^\.", b"", message.content, flags=re.M) if message.by == b"DATA" else message.content


def parameters(line):
    """The address, and the parameters in any order; SIZE may differ, and PRDR is between the client and gatepost."""
    address, _, rest = line.partition(b">")
    return address.split(b"<", 1)[-1], sorted(each.upper() for each in rest.split() if not each.upper().startswith((b"SIZE=", b"PRDR")))


def where_different(got, expected):
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
    return f"{len(got)} octets for {len(expected)}, different at {at}: {got[at:at + 60]!r} for {expected[at:at + 60]!r}"
