"""Every row of the rule table has cases of its own, at least one of which fails when the row is left out.

A case is (what the two texts are to each other, one text, another).
"""

import pytest

from etl.dedup import family_hash, normalize, rules, text_hash
from etl.dedup.normalize import forget

SAME, APART, KIN = "one problem", "two problems", "one family"
Case = tuple[str, str, str]

CASES: dict[str, tuple[Case, ...]] = {
    # line starts
    "time stamp of a runner or logger": (
        (SAME, "2026-07-30T10:55:18.2467887Z boom", "boom"),
        (SAME, "[2026-07-30 10:55:18,123] boom", "boom"),
        (SAME, "Jul 30 10:55:18 boom", "boom"),
        (APART, "2026-07-30T10:55:18Z boom", "2026-07-30T10:55:18Z bang"),
    ),
    "command of a workflow log": ((SAME, "##[error]boom", "boom"), (SAME, "##[command] make all", "make all")),
    "annotation of a workflow": ((SAME, "::error file=a.py,line=3::boom", "boom"), (SAME, "::error::boom", "boom")),
    "seconds of a container build": ((SAME, "#12 3.456 boom", "boom"), (SAME, "#7 0.1 ERROR: x", "ERROR: x")),
    "worker of a parallel test run": ((SAME, "[gw3] [ 42%] FAILED x", "FAILED x"),),
    "letter, time and thread of a C++ or Go logger": (
        (SAME, "E0730 10:55:18.243364    3094 a.go:12] boom", "E a.go:99] boom"),
        (APART, "E0730 10:55:18.243364    3094 a.go:12] boom", "W0730 10:55:18.243364    3094 a.go:12] boom"),
    ),
    # shapes
    "URL": (
        (SAME, "GET https://api.acme.test/v1/x?page=3: no", "GET https://api.acme.test/v2/y: no"),
        (APART, "GET https://a.acme.test/x: no", "GET https://b.acme.test/x: no"),
    ),
    "e-mail address": ((SAME, "ask bob@example.com", "ask alice.b@mail.example.org"),),
    "UUID": ((SAME, "id 550e8400-e29b-41d4-a716-446655440000", "id 123E4567-E89B-12D3-A456-426614174000"),),
    "date, time in figures": (
        (SAME, "valid until 2026-07-30", "valid until 2026-07-30T10:55:18Z"),
        (SAME, "held since 2026/07/30 10:55:18 by x", "held since 1999-01-01 by x"),
    ),
    "compact date and time": ((SAME, "backup 20260730T105518Z failed", "backup 2025-12-31 failed"),),
    "date, time with a month's name": (
        (SAME, "expired on Tue, 03 Mar 2026 10:00:00 GMT!", "expired on Wed, 18 Nov 2026 23:59:59 GMT!"),
    ),
    "date, time of an access log": (
        (SAME, '"x" at [10/Oct/2026:13:55:36 +0000]', '"x" at [11/Nov/2025:01:02:03 -0700]'),
    ),
    "date with slashes": ((SAME, "due 12/31/2026 11:59 PM today", "due 2026-12-31 today"),),
    "time of day": ((SAME, "stuck at 10:55:18 again", "stuck at 10:55:18.123 UTC again"),),
    "Windows path": ((SAME, r"at C:\src\core\a.cpp now", "at /src/core/a.cpp now"),),
    "temporary folder of the system": (
        (SAME, "/var/folders/q0/abc123_xx/T/tmpab/x gone", "/tmp/tmpcd/x gone"),
        (SAME, r"C:\Users\bob\AppData\Local\Temp\tmp1\x gone", "/tmp/tmp2/x gone"),
    ),
    "temporary path": (
        (SAME, "/tmp/tmpab12_xyz/f.bin gone", "/tmp/tmpzz/f.bin gone"),
        (APART, "/tmp/tmpab12_xyz/f.bin gone", "/tmp/tmpab12_xyz/g.bin gone"),
    ),
    "folder of installed packages": (
        (
            SAME,
            "in /opt/conda/lib/python3.10/site-packages/numpy/x.py",
            "in /venv/lib/python3.12/site-packages/numpy/x.py",
        ),
        (SAME, r"in C:\venv\Lib\site-packages\numpy\x.py", "in /usr/lib/python3/dist-packages/numpy/x.py"),
        (APART, "in /venv/lib/python3.12/site-packages/numpy/x.py", "in /venv/lib/python3.12/site-packages/scipy/x.py"),
    ),
    "folder of the standard library": (
        (SAME, "in /usr/lib/python3.11/json/decoder.py", "in /opt/py/lib/python3.13/json/decoder.py"),
    ),
    "folder of node modules": ((SAME, "at /x/node_modules/a/node_modules/b/i.js", "at /srv/y/node_modules/b/i.js"),),
    "working folder of a runner": (
        (SAME, "in /home/runner/work/w/w/src/a.py", "in src/a.py"),
        (SAME, "in /builds/group/app/src/a.py", "in /github/workspace/src/a.py"),
        (
            SAME,
            f"in /home/u/.cache/bazel/_bazel_u/{'0a' * 16}/execroot/m/src/a.cc",
            f"in /root/.cache/bazel/_bazel_root/{'1b' * 16}/execroot/other/src/a.cc",
        ),
    ),
    "home folder": ((SAME, "open /home/bob/w/a.py", "open /Users/al/w/a.py"),),
    "hash of a Rust symbol": (
        (SAME, "core::panicking::panic_fmt::h0123456789abcdef", "core::panicking::panic_fmt"),
        (APART, "core::panicking::panic_fmt::h0123456789abcdef", "core::panicking::panic::h0123456789abcdef"),
    ),
    "JSON web token": ((SAME, f"bad eyJ{'a1' * 20}.{'b' * 20}.c", f"bad eyJ{'c2' * 30}.{'d' * 20}.e"),),
    "long run of letters and figures": ((SAME, f"data {'aB' * 200} bad", f"data {'cD' * 150} bad"),),
    "id of a request or session": (
        (SAME, "RequestId: aZ93-kk bad", "RequestId: bY84-xx bad"),
        (SAME, "trace_id=ab:12:cd lost", "trace_id=zz:98:yy lost"),
    ),
    "made-up name": ((SAME, "ref moby::y5x8k2m4n6p8q1r3s5t7v9w2x", "ref moby::a1bc2de3fg4hi5jk6lm7no8pq"),),
    "hexadecimal number": (
        (SAME, "<Foo object at 0x7f8b9c0a1234>", "<Foo object at 0x55aa>"),
        (APART, "HRESULT 0x80070005", "HRESULT 0x80070002"),
    ),
    # keepers
    "name behind a scope": (
        (APART, "in Parser::worker3 failed", "in Parser::worker4 failed"),
        (SAME, "in Parser::read on worker3 failed", "in Parser::read on worker4 failed"),
    ),
    "name of a test": (
        (APART, "test_take[1] failed", "test_take[2] failed"),
        (APART, "TestParse/case_3 failed", "TestParse/case_7 failed"),
    ),
    "code of a tool or report": (
        (APART, "see CVE-2024-1234567", "see CVE-2024-7654321"),
        (SAME, "GPU-3 is hot", "GPU-4 is hot"),
    ),
    "tag of an image": ((APART, "pull node:8-slim failed", "pull node:9-slim failed"),),
    "number of a device fault": ((APART, "Xid (PCI:0000:3b:00): 79, x", "Xid (PCI:0000:3b:00): 48, x"),),
    # masks
    "host named after its address": (
        (SAME, "from ip-10-0-3-17.ec2.internal", "from ip-10-9-3-1.ec2.internal"),
        (SAME, "from n219076184117.example.com", "from 187-141-143-180-sta.example.org"),
        (SAME, "from n219076184117.42.example.com", "from n119076184117.42.example.com"),
        (APART, "from ip-10-0-3-17.net.42", "from ip-10-0-3-18.net.17"),
    ),
    "hosted runner": ((SAME, "fv-az123-456 lost", "fv-az987-12 lost"),),
    "runner of a project": (
        (SAME, "runner-abcd1234-project-5-concurrent-0 lost", "runner-wxyz9876-project-9-concurrent-3 lost"),
    ),
    "PCI address": ((SAME, "PCI:0000:3b:00 gone", "PCI:0000:af:00 gone"),),
    "hardware address": ((SAME, "bssid 5c:50:15:4c:18:13", "bssid f8:4f:57:3b:ea:b2"),),
    "IPv6 address": (
        (SAME, "dial [2001:db8::1]:443", "dial [fe80::42]:443"),
        (APART, "Fee::add() called", "Bed::add() called"),
    ),
    "pod of a replica set": ((SAME, "web-5c8f7b9d4c-zzkpq is gone", "web-7d4b9c6f5d-xxbcd is gone"),),
    "pod of a daemon": ((SAME, "pod web-abc12 lost", "pod web-x7k2p lost"),),
    "commit or digest": ((SAME, "commit a93c7d2 missing", f"commit {'4150908' * 5}41509 missing"),),
    "key in capitals": (
        (SAME, "event 01J9Z6K4T8R5XW3M2N7QF0V1BC", "event 01HZX3N9E6S2Y4K8D7C5B1A0GM"),
        (SAME, "RAY 8A1B2C3DEFGHI lost", "RAY 7Q6W5E4RTYUIO lost"),
    ),
    "made-up end of a name": ((SAME, "job migrate-x7k2p failed", "job migrate-9bq4d failed"),),
    "digest in the name of a file": (
        (SAME, "GET /static/main.3f2a9c1b.js failed", "GET /static/main.b81c07de.js failed"),
        (APART, "GET /static/main.3f2a9c1b.js failed", "GET /static/main.3f2a9c1b.css failed"),
    ),
    "made-up name behind a digest": ((SAME, "pool-3f2b1c9d-x2k4 down", "pool-a1b2c3d4-9zqp down"),),
    "hash behind a class": ((SAME, "Foo@1b2c3 leaked", "Foo@5f6a7 leaked"),),
    "bytes of a saved example": ((SAME, "reproduce(b'AXicY2BAAQ12==')", "reproduce(b'AXicY2CAAAAcQ3x==')"),),
    "long number glued to a name": ((SAME, "blk_123456789 bad", "blk_-98765432 bad"),),
    "long number behind a dot": ((SAME, "dumped to core.123", "dumped to core.7"), (SAME, "a.x.12345", "a.x.999")),
    "how often an event came": (
        (SAME, "BackOff 3m (x14 over 6m) kubelet", "BackOff 9s (x3 over 1h) kubelet"),
        (APART, "in Program Files (x86) over", "in Program Files (x64) over"),
    ),
    "number behind leaders": ((SAME, "wait state enable.........0", "wait state enable.................1"),),
    "number": (
        (SAME, "4,150,908 rows in 3.2 s, 4 GiB", "12 rows in 1 h, 20 MB"),
        (SAME, "failed after 1m30.5s", "failed after 59.02s"),
        (SAME, "[error] 31#31: *1 lost", "[error] 7#7: *9981 lost"),
        (SAME, "panicked at src/a.rs:1:2", "panicked at src/a.rs:99:20"),
        (SAME, "Task 12.3 in stage 4.0 failed", "Task 7.3 in stage 19.0 failed"),
        (SAME, "shape (3, 1.5)", "shape (4, 2.5)"),
        (APART, "exit code 1", "exit code 137"),
        (APART, "upload failed (503)", "upload failed (413)"),
        (APART, "smtp: 550 mailbox unavailable", "smtp: 421 mailbox unavailable"),
        (APART, "build (windows-2022, 3.11) failed", "build (windows-2022, 3.13) failed"),
    ),
    "number glued to a counted name": (
        (SAME, "[rank7]: hung", "[rank12]: hung"),
        (SAME, "com.sun.proxy.$Proxy45 fell", "com.sun.proxy.$Proxy112 fell"),
        (APART, "conv1 overflows", "conv2 overflows"),
    ),
    "line and column": ((SAME, "src/mod.rs:118:17: x", "src/mod.rs:118: x"),),
    "sign of a masked number": (
        (SAME, "value -3 left", "value 3 left"),
        (SAME, "offset +17 left", "offset 0 left"),
        (SAME, "[-+0000]", "[0000]"),
    ),
    "time in several units": ((SAME, "took 1m 23.4s to run", "took 59 s to run"),),
    "map in no order": ((SAME, "labels map[b:x a:y]", "labels map[a:y b:x]"),),
    "set in no order": ((SAME, "missing {'b', 'a'}", "missing {'a', 'b'}"),),
    # the skeleton
    "text in double quotes": ((KIN, 'cannot open "a b"', 'cannot open "c"'),),
    "text in single quotes": ((KIN, "cannot open 'a b'", "cannot open 'c'"),),
    "value behind an equals sign": ((KIN, "retry policy=never failed", "retry policy=always failed"),),
    "value behind leaders": ((KIN, "state...3 on", "state...* on"),),
    "path": ((KIN, "cannot open /etc/a/b.conf now", "cannot open /srv/c.conf now"),),
    "word with a figure or a masked value": (
        (KIN, "exit code 1", "exit code 137"),
        (KIN, "undefined symbol: VariantToUInt16", "undefined symbol: VariantToUInt32"),
    ),
    "dotted name": ((KIN, "class org.acme.Reader is gone", "class org.acme.io.Writer is gone"),),
    "word for a value": ((KIN, "flag is true now", "flag is false now"), (KIN, "it was None here", "it was nil here")),
    "name of a user": ((KIN, "Invalid user alice\nx", "Invalid user bob\nx"),),
    "name of nobody": ((KIN, "Invalid user from 10.0.0.1", "Invalid user bob from 10.0.0.2"),),
    "name after for": ((KIN, "password for alice from here", "password for bob from here"),),
    "brackets around nothing": ((KIN, "call f () ended", "call f (17) ended"),),
    "several values in a row": ((KIN, "delete blk_11111 blk_22222", "delete blk_33333"),),
}

TABLES = ("LINE_STARTS", "SHAPES", "KEEPERS", "MASKS", "SKELETON")
ROWS = [(table, row.name) for table in TABLES for row in getattr(rules, table)]


def _holds(case: Case) -> bool:
    relation, one, other = case
    if relation == KIN:
        return text_hash(one) != text_hash(other) and family_hash(one) == family_hash(other)
    return (normalize(one) == normalize(other)) == (relation == SAME)


def test_every_row_has_cases_and_every_case_has_a_row() -> None:
    assert set(CASES) == {name for _, name in ROWS}


@pytest.mark.parametrize("name", CASES)
def test_every_case_of_a_row_holds(name: str) -> None:
    assert not [case for case in CASES[name] if not _holds(case)]


@pytest.mark.parametrize(("table", "name"), ROWS, ids=[name for _, name in ROWS])
def test_a_case_of_a_row_fails_when_the_row_is_left_out(table: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(rules, table, tuple(row for row in getattr(rules, table) if row.name != name))
        forget()
        held = [_holds(case) for case in CASES[name]]
    forget()
    assert not all(held), f"the row {name!r} could be left out and none of its cases would notice"
