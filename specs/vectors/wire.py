#!/usr/bin/env python3
"""Writes wire.json: the test vectors of ../wire.md, from its grammar alone.

    python3 specs/vectors/wire.py > specs/vectors/wire.json

A second encoder in another language, which shares nothing with impl/wire. Numbers of 64 bits are
text in JSON, since not every reader keeps them; bytes are hex.

    messages  each decodes to `message`, which encodes to `hex`
    refused   each is refused at byte `offset` for the reason `fault`, and answered with an ERROR of
              code `answer`, or not at all
    streams   each gives `messages`, and ends at byte `error_at` if that is not null
    parts     each is the part of a SLOTS notice that says `told`; null: left out
    no_parts  each is refused as a part at byte `offset` for the reason `fault`
    renewals  each is the answer to a question for a certificate that says `told`, or is refused at byte
              `offset` for the reason `fault`
"""

import json
import sys

V4 = {"id": "1f" * 32, "key": "a1" * 32, "address": "10.0.0.1:4000"}
V6 = {"id": "2e" * 32, "key": "b2" * 32, "address": "[2001:db8::1]:4001"}
ADDRESSES = {
    V4["address"]: bytes([4, 10, 0, 0, 1]) + (4000).to_bytes(2, "big"),
    V6["address"]: bytes([6]) + bytes.fromhex("20010db8" + "00" * 11 + "01") + (4001).to_bytes(2, "big"),
}


def number(value, width):
    return int(value).to_bytes(width, "big")


def field(tag, content):
    return bytes([tag]) + number(len(content), 3) + content


def item(content):
    return number(len(content), 3) + content


def header(kind, request_id, version=1):
    return bytes([version, kind]) + number(request_id, 8)


def contact(told):
    return bytes.fromhex(told["id"] + told["key"]) + ADDRESSES[told["address"]]


def fields(told):
    return b"".join(field(one["tag"], bytes.fromhex(one["hex"])) for one in told)


def record(told):
    content = field(1, bytes.fromhex(told["key"])) + field(2, bytes.fromhex(told["origin"]))
    content += field(3, number(told["sequence"], 8)) + field(4, number(told["expires_in_ms"], 8))
    if told["value"] is not None:
        content += field(5, bytes.fromhex(told["value"]))
    return content + fields(told["later"])


def tell(told):
    """Tags with bytes, as JSON has them."""
    return [{"tag": tag, "hex": content.hex()} for tag, content in told]


RECORD = {
    "key": "c3" * 32,
    "origin": V4["id"],
    "sequence": "7",
    "expires_in_ms": "3600000",
    "value": b"coat".hex(),
    "later": [],
}
TOMBSTONE = dict(RECORD, sequence="8", value=None)
EMPTY = dict(RECORD, sequence=str(2**64 - 1), expires_in_ms="0", value="")
NEWER = dict(RECORD, later=tell([(6, b"Qi"), (200, b"")]))

messages, refused, streams = [], [], []


def message(name, kind, code, request_id, body, told, later=()):
    later = tell(later)
    whole = header(code, request_id) + body + fields(later)
    told = dict({"kind": kind, "request_id": str(request_id)}, **told, later=later)
    messages.append({"name": name, "hex": whole.hex(), "message": told})
    return whole


def unknown(name, kind, request_id, told):
    told = tell(told)
    group = ("request", "notice", "answer", "answer")[kind >> 6]
    whole = header(kind, request_id) + fields(told)
    told = {"kind": kind, "class": group, "request_id": str(request_id), "fields": told}
    messages.append({"name": name, "hex": whole.hex(), "message": told})


def refuse(name, whole, offset, fault, answer=None):
    refused.append({"name": name, "hex": whole.hex(), "offset": offset, "fault": fault, "answer": answer})


def stream(name, whole, inside, error_at=None):
    inside = [one.hex() for one in inside]
    streams.append({"name": name, "hex": whole.hex(), "messages": inside, "error_at": error_at})


def frame(whole):
    return number(len(whole), 4) + whole


ping = message("ping", "PING", 1, 7, b"", {"from": None})
message("ping-from-ipv4", "PING", 1, 0, field(1, contact(V4)), {"from": V4})
message("ping-from-ipv6", "PING", 1, 2**64 - 1, field(1, contact(V6)), {"from": V6})
message("pong", "PONG", 0x81, 7, b"", {})
find_node = message(
    "find-node", "FIND_NODE", 2, 8, field(1, contact(V4)) + field(2, b"\x5a" * 32), {"from": V4, "target": "5a" * 32}
)
message("find-node-without-sender", "FIND_NODE", 2, 8, field(2, b"\x5a" * 32), {"from": None, "target": "5a" * 32})
nodes = message("nodes", "NODES", 0x82, 8, field(1, contact(V4) + contact(V6)), {"contacts": [V4, V6]})
message("nodes-none", "NODES", 0x82, 8, field(1, b""), {"contacts": []})
message("nodes-most", "NODES", 0x82, 8, field(1, contact(V4) * 64), {"contacts": [V4] * 64})
message("find-value", "FIND_VALUE", 3, 9, field(2, b"\xc3" * 32), {"from": None, "key": "c3" * 32})
message(
    "found-record",
    "FOUND",
    0x83,
    9,
    field(1, item(record(RECORD))) + field(2, contact(V6)),
    {"records": [RECORD], "contacts": [V6]},
)
message("found-nothing", "FOUND", 0x83, 9, field(1, b"") + field(2, b""), {"records": [], "contacts": []})
message(
    "found-several",
    "FOUND",
    0x83,
    9,
    field(1, b"".join(item(record(r)) for r in (RECORD, TOMBSTONE, EMPTY, NEWER))) + field(2, b""),
    {"records": [RECORD, TOMBSTONE, EMPTY, NEWER], "contacts": []},
)
store = message(
    "store",
    "STORE",
    4,
    10,
    field(1, contact(V4)) + field(2, b"\0") + field(3, record(RECORD)),
    {"from": V4, "purpose": 0, "record": RECORD},
)
message(
    "store-tombstone-as-cache",
    "STORE",
    4,
    10,
    field(2, b"\1") + field(3, record(TOMBSTONE)),
    {"from": None, "purpose": 1, "record": TOMBSTONE},
)
message(
    "store-passes-on-later-fields",
    "STORE",
    4,
    10,
    field(2, b"\0") + field(3, record(NEWER)),
    {"from": None, "purpose": 0, "record": NEWER},
)
message(
    "store-of-unknown-purpose",
    "STORE",
    4,
    10,
    field(2, b"\x63") + field(3, record(EMPTY)),
    {"from": None, "purpose": 99, "record": EMPTY},
)
message("stored", "STORED", 0x84, 10, field(1, b"\0") + field(2, number(7, 8)), {"status": 0, "held": "7"})
message("stored-refused", "STORED", 0x84, 10, field(1, b"\3"), {"status": 3, "held": None})
message(
    "error",
    "ERROR",
    0xFF,
    11,
    field(1, number(2, 2)) + field(2, "kind 0x10 is not known".encode()),
    {"code": 2, "detail": "kind 0x10 is not known"},
)
message(
    "error-in-other-letters",
    "ERROR",
    0xFF,
    11,
    field(1, number(65535, 2)) + field(2, "Garderobe geschlossen – 満員".encode()),
    {"code": 65535, "detail": "Garderobe geschlossen – 満員"},
)
message("ping-with-later-fields", "PING", 1, 7, b"", {"from": None}, [(2, b""), (254, b"new")])
message("nodes-with-a-later-field", "NODES", 0x82, 8, field(1, contact(V4)), {"contacts": [V4]}, [(2, b"\x01\x02")])
unknown("unknown-request", 0x10, 12, [(1, b"\x01"), (3, b"slots")])
unknown("unknown-notice", 0x41, 13, [])
unknown("unknown-answer", 0x90, 14, [(255, b"")])
unknown("kind-zero-is-unknown", 0x00, 15, [])
refuse("empty", b"", 0, "short")
refuse("header-cut", ping[:9], 0, "short")
refuse("version-0", header(1, 7, 0), 0, "version", 1)
refuse("version-2", header(1, 7, 2) + b"\xde\xad", 0, "version", 1)
refuse("version-2-answer-is-not-answered", header(0x81, 7, 2), 0, "version")
refuse("field-head-cut", header(1, 7) + b"\x02\0\0", 10, "short", 4)
refuse("field-cut", find_node[:-1], 10 + 4 + 71 + 4, "short", 4)
refuse("target-missing", header(2, 8), 10, "field", 4)
refuse("target-missing-behind-sender", header(2, 8) + field(1, contact(V4)), 85, "field", 4)
refuse("target-missing-before-an-odd-field", header(2, 8) + field(3, b"must"), 10, "field", 4)
refuse("target-too-short", header(2, 8) + field(2, b"\x5a" * 31), 14, "length", 4)
refuse("target-too-long", header(2, 8) + field(2, b"\x5a" * 33), 14, "length", 4)
refuse("target-twice", header(2, 8) + field(2, b"\x5a" * 32) * 2, 46, "order", 4)
refuse("sender-behind-target", header(2, 8) + field(2, b"\x5a" * 32) + field(1, contact(V4)), 46, "order", 4)
refuse("tag-zero", header(1, 7) + field(0, b""), 10, "order", 4)
refuse("tag-zero-in-an-unknown-kind", header(0x10, 7) + field(0, b""), 10, "order", 4)
refuse("unknown-kind-out-of-order", header(0x10, 7) + field(3, b"") + field(2, b""), 14, "order", 4)
refuse("odd-field-unknown", header(1, 7) + field(3, b"must"), 10, "required", 3)
refuse("odd-field-unknown-in-an-answer", header(0x81, 7) + field(1, b""), 10, "required")
refuse(
    "odd-field-unknown-in-a-record",
    header(4, 10) + field(2, b"\0") + field(3, record(RECORD) + field(7, b"")),
    19 + len(record(RECORD)),
    "required",
    3,
)
refuse("later-fields-out-of-order", header(1, 7) + field(4, b"") + field(2, b""), 14, "order", 4)
refuse("family-5", header(0x82, 8) + field(1, contact(V4)[:64] + b"\5" + contact(V4)[65:]), 78, "family")
refuse(
    "ipv4-inside-ipv6",
    header(0x82, 8) + field(1, contact(V4)[:64] + b"\6" + bytes(10) + b"\xff\xff\x0a\0\0\1\x0f\xa0"),
    78,
    "mapped",
)
refuse("contact-cut", header(0x82, 8) + field(1, contact(V4) + contact(V4)[:70]), 85, "short")
refuse("contact-cut-before-its-family", header(0x82, 8) + field(1, contact(V4)[:64]), 14, "short")
refuse("sender-with-bytes-behind", header(1, 7) + field(1, contact(V4) + b"\0"), 14, "length", 4)
refuse("sender-empty", header(1, 7) + field(1, b""), 14, "short", 4)
refuse("contacts-65", header(0x82, 8) + field(1, contact(V4) * 65), 14 + 64 * 71, "too_much")
refuse(
    "records-17",
    header(0x83, 9) + field(1, item(record(TOMBSTONE)) * 17) + field(2, b""),
    14 + 16 * len(item(record(TOMBSTONE))),
    "too_much",
)
refuse("record-item-cut", header(0x83, 9) + field(1, item(record(RECORD))[:-1]) + field(2, b""), 17, "short")
refuse("record-item-head-cut", header(0x83, 9) + field(1, b"\0\0") + field(2, b""), 14, "short")
refuse(
    "record-without-origin",
    header(0x83, 9) + field(1, item(field(1, b"\xc3" * 32))) + field(2, b""),
    14 + 3 + 36,
    "field",
)
refuse(
    "record-sequence-of-seven-bytes",
    header(4, 10) + field(2, b"\0") + field(3, field(1, b"\xc3" * 32) + field(2, b"\x1f" * 32) + field(3, bytes(7))),
    10 + 5 + 4 + 72 + 4,
    "length",
    4,
)
refuse("detail-not-utf8", header(0xFF, 1) + field(1, number(4, 2)) + field(2, b"ok\xff"), 22, "text")
refuse("detail-257", header(0xFF, 1) + field(1, number(4, 2)) + field(2, b"x" * 257), 20, "too_much")
refuse("found-without-contacts", header(0x83, 9) + field(1, b""), 14, "field")
refuse("length-far-beyond-the-end", header(1, 7) + b"\x02\xff\xff\xff" + b"x", 14, "short", 4)
stream("two-frames", frame(ping) + frame(nodes), [ping, nodes])
stream("the-second-not-whole", frame(ping) + frame(store)[:-1], [ping])
stream("length-below-a-header", frame(ping) + frame(b"123456789") + frame(ping), [ping], len(frame(ping)))
stream("length-above-the-limit", number(131073, 4) + b"x", [], 0)
stream("length-of-all-ones", frame(ping) + b"\xff" * 4, [ping], len(frame(ping)))
stream("rubbish-of-a-right-length-is-a-frame", frame(b"0123456789") + frame(ping), [b"0123456789", ping])

# Parts of SLOTS. What is told of one is its JSON; `lay` lays it out by section 8 of the page.

BALLOT = {"epoch": 3, "round": 7, "seat": 2, "boot": 9}
HIGHER = {"epoch": 3, "round": 8, "seat": 0, "boot": 1}
ZERO = {"epoch": 0, "round": 0, "seat": 0, "boot": 0}
MEMBERS = [{"node": "1f" * 32, "incarnation": "0"}, {"node": "2e" * 32, "incarnation": str(2**64 - 1)}]
VIEW = {"epoch": 3, "members": MEMBERS}
NEXT = {"epoch": 4, "members": MEMBERS[:1]}
VALUE = {"version": "5", "operation": "0d" * 16, "content": b"7".hex()}
EMPTY_VALUE = dict(VALUE, content="")
REMOVED = dict(VALUE, version="6", content=None)
HAS = {"ballot": BALLOT, "state": VALUE}
FOUND = {"floor": "2", "accepted": HAS}
NOTHING = {"floor": "0", "accepted": None}
COAT = b"coat".hex()


def lay_ballot(told):
    return number(told["epoch"], 4) + number(told["round"], 4) + number(told["seat"], 1) + number(told["boot"], 4)


def lay_view(told):
    members = b"".join(bytes.fromhex(one["node"]) + number(one["incarnation"], 8) for one in told["members"])
    return number(told["epoch"], 4) + number(len(told["members"]), 1) + members


def short(told):
    return number(len(told) // 2, 1) + bytes.fromhex(told)


def maybe(told, lay):
    return b"\0" if told is None else b"\1" + lay(told)


def lay_state(told):
    value = maybe(told["content"], lambda it: item(bytes.fromhex(it)))
    return number(told["version"], 8) + bytes.fromhex(told["operation"]) + value


def lay_accepted(told):
    return lay_ballot(told["ballot"]) + lay_state(told["state"])


def lay_found(told):
    return number(told["floor"], 8) + maybe(told["accepted"], lay_accepted)


def lay_one(told):
    """An item of a list: which one, its key and ballot, and what is told besides."""
    names = {
        "ask": ["read", "prepare", "accept"],
        "reply": ["held", "promised", "accepted", "refused"],
        "collect": ["check", "drop"],
    }
    says, which = told["one"].split("-")
    whole = number(names[says].index(which), 1) + short(told["key"]) + lay_ballot(told["ballot"])
    for name in told:
        if name == "state":
            whole += lay_state(told[name])
        elif name == "next":
            whole += maybe(told[name], lay_ballot)
        elif name == "found":
            whole += lay_found(told[name])
        elif name == "promise":
            whole += lay_ballot(told[name])
        elif name == "version":
            whole += number(told[name], 8)
    return whole


def lay_decree(told):
    whole = {"prepare": b"\0", "accept": b"\1"}[told["one"]] + lay_ballot(told["ballot"])
    return whole + (lay_view(told["view"]) if "view" in told else b"")


def lay_decreed(told):
    whole = {"promised": b"\0", "accepted": b"\1", "refused": b"\2"}[told["one"]] + lay_ballot(told["ballot"])
    if "has" in told:
        whole += maybe(told["has"], lambda it: lay_ballot(it["ballot"]) + lay_view(it["view"]))
    return whole + (lay_ballot(told["promise"]) if "promise" in told else b"")


def lay_page(told):
    whole = number(told["source"], 4) + maybe(told["after"], short)
    whole += lay_ballot(told["floor"]["ballot"]) + number(told["floor"]["version"], 8)
    whole += b"\1" if told["is_last"] else b"\0"
    return whole + b"".join(short(one["key"]) + lay_accepted(one) for one in told["records"])


def lay_list(told):
    return b"".join(lay_one(one) for one in told)


def lay_start(told):
    return number(told["incarnation"], 8) + number(told["boot"], 4)


def lay_value(told):
    return item(bytes.fromhex(told))


def lay_expected(told):
    if told == "absent":
        return b"\0"
    return b"\1" + lay_value(told["value"]) if "value" in told else b"\2" + number(told["version"], 8)


def lay_call(told):
    whole = maybe(told["to"], lay_start) + lay_start(told["from"]) + number(told["number"], 8)
    whole += number(told["patience_ms"], 4) + bytes.fromhex(told["operation"]) + short(told["key"])
    whole += maybe(told["bound"], lambda it: number(it, 8))
    if told["one"] == "get":
        return whole + b"\0"
    return whole + b"\1" + lay_expected(told["expected"]) + maybe(told["new"], lay_value)


def lay_held(told):
    return number(told["version"], 8) + lay_value(told["value"])


def lay_outcome(told):
    which = ["got", "set", "mismatch", "unavailable", "unknown"].index(told["one"])
    whole = number(which, 1)
    if "held" in told:
        whole += maybe(told["held"], lay_held)
    return whole + (number(told["version"], 8) if "version" in told else b"")


def lay_called(told):
    whole, what = lay_start(told["to"]) + number(told["number"], 8), told["told"]
    if "ended" in what:
        return whole + b"\0" + lay_outcome(what["ended"])
    return whole + (b"\1" + lay_view(what["elsewhere"]) if "elsewhere" in what else b"\2" + lay_start(what["start"]))


SAYS = [
    ("ask", lay_list),
    ("reply", lay_list),
    ("newer", lay_view),
    ("decree", lay_decree),
    ("decreed", lay_decreed),
    ("decided", lambda told: lay_view(told["previous"]) + lay_view(told["next"])),
    ("pull", lambda told: lay_view(told["next"]) + maybe(told["after"], short)),
    ("copy", lambda told: maybe(told["after"], short)),
    ("page", lay_page),
    ("are-you-active", lambda told: b""),
    ("is-active", lambda told: b""),
    ("collect", lay_list),
    ("agreed", lambda told: b"".join(short(one["key"]) + lay_ballot(one["ballot"]) for one in told)),
    ("call", lambda told: lay_call(told)),
    ("called", lambda told: lay_called(told)),
    ("start", lambda told: lay_start(told)),
]
parts, no_parts = [], []


def part(name, says, told):
    which = [one for one, _ in SAYS].index(says)
    whole = number(7, 2) + number(3, 4) + number(which, 1) + SAYS[which][1](told)
    parts.append({"name": name, "hex": whole.hex(), "told": {"slot": 7, "epoch": 3, "says": says, "it": told}})
    return whole


def no_part(name, whole, offset, fault):
    no_parts.append({"name": name, "hex": whole.hex(), "offset": offset, "fault": fault})


read = {"one": "ask-read", "key": COAT, "ballot": BALLOT}
prepare = {"one": "ask-prepare", "key": "", "ballot": HIGHER}
accept = {"one": "ask-accept", "key": COAT, "ballot": BALLOT, "state": VALUE, "next": HIGHER}
ask_read = part("ask-read", "ask", [read])
part("ask-of-three-keys", "ask", [read, prepare, dict(accept, key="ff" * 255)])
part("ask-accept-a-tombstone", "ask", [dict(accept, state=REMOVED, next=None)])
part("ask-accept-an-empty-value", "ask", [dict(accept, state=EMPTY_VALUE)])
part("ask-nothing", "ask", [])
held = {"one": "reply-held", "key": COAT, "ballot": BALLOT, "found": FOUND}
replies = [
    held,
    dict(held, one="reply-promised", found=NOTHING),
    {"one": "reply-accepted", "key": COAT, "ballot": BALLOT, "next": HIGHER},
    {"one": "reply-refused", "key": COAT, "ballot": BALLOT, "promise": HIGHER},
]
reply = part("reply", "reply", replies)
newer = part("newer", "newer", NEXT)
part("decree-prepare", "decree", {"one": "prepare", "ballot": BALLOT})
part("decree-accept", "decree", {"one": "accept", "ballot": BALLOT, "view": NEXT})
part("decreed-promised-nothing", "decreed", {"one": "promised", "ballot": BALLOT, "has": None})
part("decreed-promised", "decreed", {"one": "promised", "ballot": BALLOT, "has": {"ballot": ZERO, "view": NEXT}})
part("decreed-accepted", "decreed", {"one": "accepted", "ballot": BALLOT})
part("decreed-refused", "decreed", {"one": "refused", "ballot": BALLOT, "promise": HIGHER})
part("decided", "decided", {"previous": VIEW, "next": NEXT})
part("pull", "pull", {"next": NEXT, "after": None})
part("pull-behind-a-key", "pull", {"next": NEXT, "after": COAT})
part("copy", "copy", {"after": COAT})
floor = {"ballot": BALLOT, "version": "4"}
page_of = {"source": 2, "after": None, "floor": floor, "is_last": True, "records": []}
records = [dict(HAS, key=""), dict(HAS, key=COAT, state=REMOVED)]
part("page-of-nothing", "page", page_of)
part("page", "page", dict(page_of, after=None, is_last=False, records=records))
part("are-you-active", "are-you-active", None)
part("is-active", "is-active", None)
check = {"one": "collect-check", "key": COAT, "ballot": BALLOT, "version": "6"}
part("collect", "collect", [check, {"one": "collect-drop", "key": COAT, "ballot": BALLOT}])
part("agreed", "agreed", [{"key": COAT, "ballot": BALLOT}, {"key": "", "ballot": ZERO}])
BEGAN = {"incarnation": str(2**64 - 1), "boot": 9}
AGAIN = {"incarnation": "0", "boot": 2}
get = {"to": None, "from": BEGAN, "number": "1", "patience_ms": 5000, "operation": "0d" * 16, "key": COAT}
get = dict(get, bound=None, one="get")
put = dict(get, to=AGAIN, number="2", one="compare-and-set", expected="absent", new=b"7".hex())
call_get = part("call-get-of-an-unknown-start", "call", get)
call = part("call", "call", put)
part("call-again-bound", "call", dict(put, bound="5", expected={"value": ""}, new=None))
part("call-by-version", "call", dict(put, expected={"version": "5"}))
HELD = {"version": "5", "value": b"7".hex()}
called_of = {"to": BEGAN, "number": "2"}
ends = [
    ("got", {"held": HELD}),
    ("got-nothing", {"held": None}),
    ("set", {"version": "6"}),
    ("mismatch", {"held": HELD}),
    ("unavailable", {}),
    ("unknown", {"version": "5"}),
]
for name, it in ends:
    one = name.split("-")[0]
    part("called-" + name, "called", dict(called_of, told={"ended": dict(it, one=one)}))
part("called-elsewhere", "called", dict(called_of, told={"elsewhere": NEXT}))
part("called-start", "called", dict(called_of, told={"start": AGAIN}))
part("start", "start", BEGAN)
newest = number(7, 2) + number(3, 4) + b"\x10" + b"whatever"
parts.append({"name": "of-a-newer-node", "hex": newest.hex(), "told": None})

no_part("part-empty", b"", 0, "short")
no_part("part-without-what-it-says", ask_read[:6], 6, "short")
no_part("ask-of-a-fourth-kind", ask_read[:7] + b"\3" + ask_read[8:], 7, "choice")
no_part("ask-cut", ask_read[:-1], len(ask_read) - 4, "short")
no_part("key-cut", ask_read[:10], 9, "short")
no_part("seat-15", ask_read[:-5] + b"\x0f" + ask_read[-4:], len(ask_read) - 5, "sense")
no_part("bytes-behind-a-view", newer + b"\0", len(newer), "length")
no_part("view-of-nobody", newer[:11] + b"\0", 11, "sense")
no_part("view-of-sixteen", newer[:11] + b"\x10" + newer[12:], 11, "sense")
no_part("view-with-a-node-twice", newer[:11] + b"\2" + newer[12:] * 2, 11, "sense")
no_part("view-cut", newer[:-1], len(newer) - 8, "short")
no_part("an-option-that-is-neither", number(7, 2) + number(3, 4) + b"\x07\2", 7, "choice")
page_head = number(7, 2) + number(3, 4) + b"\x08" + lay_page(page_of)
twice = lay_page(dict(page_of, records=records[:1]))[len(lay_page(page_of)) :]
no_part("page-with-a-key-twice", page_head + twice * 2, len(page_head) + len(twice), "sense")
behind = number(7, 2) + number(3, 4) + b"\x08" + lay_page(dict(page_of, after=COAT))
no_part("page-that-begins-too-early", behind + twice, len(behind), "sense")
too_long = ask_read[:7] + b"\2" + ask_read[8:] + number(1, 8) + bytes(16) + b"\1" + number(65537, 3)
no_part("value-of-65537", too_long, len(too_long), "too_much")

no_part("call-of-a-third-kind", call_get[:-1] + b"\2", len(call_get) - 1, "choice")
no_part("call-cut", call[:-1], len(call) - 1, "short")
no_part("call-with-bytes-behind", call + b"\0", len(call), "length")
message("slots", "SLOTS", 0x40, 0, field(1, item(ask_read) + item(newer)), {"parts": [ask_read.hex(), newer.hex()]})
message("slots-none", "SLOTS", 0x40, 0, field(1, b""), {"parts": []})
refuse("slots-without-parts", header(0x40, 0), 10, "field")
refuse("part-cut", header(0x40, 0) + field(1, item(ask_read)[:-1]), 17, "short")
refuse("parts-1025", header(0x40, 0) + field(1, item(b"") * 1025), 14 + 3 * 1024, "too_much")

# Answers to who asks for a newer certificate. What stands for one here is none: the format does not look.

REASON = "n1f1f1f1f has been revoked – 満員"
renewals = [
    {"name": "renewed", "hex": (b"\0" + b"in DER").hex(), "told": {"renewed": b"in DER".hex()}},
    {"name": "authority-not-here", "hex": "01", "told": {"not_here": None}},
    {"name": "renewal-refused", "hex": (b"\2" + REASON.encode()).hex(), "told": {"refused": REASON}},
    {"name": "renewal-refused-without-a-reason", "hex": "02", "told": {"refused": ""}},
    {"name": "renewal-empty", "hex": "", "offset": 0, "fault": "short"},
    {"name": "renewal-of-a-newer-node", "hex": "03", "offset": 0, "fault": "choice"},
    {"name": "not-here-with-bytes-behind", "hex": "0100", "offset": 1, "fault": "length"},
    {"name": "reason-not-utf8", "hex": (b"\2ok\xff").hex(), "offset": 3, "fault": "text"},
    {"name": "reason-of-257", "hex": (b"\2" + b"x" * 257).hex(), "offset": 1, "fault": "too_much"},
    {"name": "certificate-of-16385", "hex": (b"\0" + b"x" * 16385).hex(), "offset": 1, "fault": "too_much"},
]

vectors = {
    "format": "Cloakroom wire, version 1; see ../wire.md",
    "messages": messages,
    "refused": refused,
    "streams": streams,
    "parts": parts,
    "no_parts": no_parts,
    "renewals": renewals,
}
json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
print()
