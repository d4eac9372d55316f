"""Failures as CI prints them again and again: templates, and what another run, machine or checkout changes in them."""

import random
from collections.abc import Callable, Iterator

RENDERINGS = 20
"""How often each failure recurs."""

_FOLDERS = (
    "/home/runner/work/app/app/", "/Users/runner/work/app/app/", "/__w/app/app/", "/builds/acme/app/",
    "/github/workspace/", "/var/lib/jenkins/workspace/", "/actions-runner/_work/app/app/",
)  # fmt: skip
_PACKAGES = (
    "/opt/venv/lib/python3.11/site-packages/", "/usr/local/lib/python3.13/site-packages/",
    "/home/ci/.pyenv/versions/3.12.4/lib/python3.12/site-packages/",
    "/opt/hostedtoolcache/Python/3.12.7/x64/lib/python3.12/site-packages/",
)  # fmt: skip
_CONSONANTS = "bcdfghjklmnpqrstvwxz2456789"


def _hexadecimal(digits: int) -> Callable[[random.Random], str]:
    return lambda source: f"{source.getrandbits(digits * 4):0{digits}x}"


def _uuid(source: random.Random) -> str:
    text = _hexadecimal(32)(source)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _moment(source: random.Random) -> str:
    day = f"2026-{source.randint(1, 12):02}-{source.randint(1, 28):02}"
    clock = f"{source.randint(0, 23):02}:{source.randint(0, 59):02}:{source.randint(0, 59):02}"
    return source.choice(
        (f"{day}T{clock}.{source.randint(0, 9999999):07}Z", f"{day} {clock},{source.randint(0, 999):03}")
    )


def _duration(source: random.Random) -> str:
    seconds = source.uniform(0.1, 4000)
    return source.choice((f"{seconds:.2f}s", f"{int(seconds)}s", f"{int(seconds // 60)}m {int(seconds % 60)}s"))


def _size(source: random.Random) -> str:
    return source.choice(
        (f"{source.uniform(1, 999):.2f} MiB", f"{source.uniform(1, 80):.1f} GiB", f"{source.randint(1, 999)} MB")
    )


def _pod(source: random.Random) -> str:
    digits = "".join(source.choices("bcdf2456789", k=9)) + source.choice("2456789")
    return f"{digits}-{''.join(source.choices(_CONSONANTS, k=5))}"


def _address(source: random.Random) -> str:
    return ".".join(str(source.randint(1, 254)) for _ in range(4))


FIELDS: dict[str, Callable[[random.Random], str]] = {
    "when": _moment,
    "took": _duration,
    "size": _size,
    "sha": _hexadecimal(40),
    "short": lambda source: f"{source.getrandbits(20):05x}{source.choice('0123456789')}{source.choice('abcdef')}",
    "digest": _hexadecimal(64),
    "uuid": _uuid,
    "address": lambda source: f"0x{source.getrandbits(47):012x}",
    "ip": _address,
    "port": lambda source: str(source.randint(32768, 60999)),
    "pid": lambda source: str(source.randint(2, 99999)),
    "n": lambda source: str(source.randint(2, 900)),
    "big": lambda source: str(source.randint(10**6, 10**11)),
    "line": lambda source: str(source.randint(1, 3000)),
    "pod": _pod,
    "root": lambda source: source.choice(_FOLDERS),
    "packages": lambda source: source.choice(_PACKAGES),
    "temporary": lambda source: f"/tmp/tmp{''.join(source.choices('abcdefghijkmnpqrstuvwxyz0123456789_', k=8))}",
    "percent": lambda source: f"{source.randint(1, 99)}%",
    "red": lambda source: source.choice(("", "\x1b[31m", "\x1b[1;31m")),
    "plain": lambda source: source.choice(("", "\x1b[0m")),
}

TEMPLATES = (
    "{when} ##[error]Process completed with exit code 137.",
    "{when} ##[error]Process completed with exit code 1.",
    "{when} ##[error]The runner has received a shutdown signal after {took}.",
    "{red}FAILED{plain} tests/unit/test_store.py::test_write[sqlite] - AssertionError: assert {n} == {line}",
    "{red}FAILED{plain} tests/unit/test_store.py::test_write[postgres] - AssertionError: assert {n} == {line}",
    ('Traceback (most recent call last):\n  File "{root}src/app/store.py", line {line}, in write\n    self.flush()\n'
    "OSError: [Errno 28] No space left on device"),
    ('Traceback (most recent call last):\n  File "{packages}urllib3/connection.py", line {line}, in connect\n'
    "TimeoutError: timed out after {took} on {ip}:{port}"),
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {size}. GPU {n} has a total capacity of {size}",
    "[rank{n}]: RuntimeError: NCCL error 2 in collective {n}, took {took}",
    "goroutine {n} [running]:\nmain.serve({address}, {address})\n\t{root}cmd/serve.go:{line} +{address}",
    "panic: runtime error: index out of range [{n}] with length {n}",
    "thread 'main' ({pid}) panicked at src/codec.rs:{line}:{n}:\nincomplete frame",
    "error[E0308]: mismatched types\n --> src/codec.rs:{line}:{n}",
    "error[E0382]: use of moved value\n --> src/codec.rs:{line}:{n}",
    "{root}src/core/heap.cpp:{line}:{n}: error: 'grow' was not declared in this scope",
    "make[{n}]: *** [Makefile:{line}: all] Error 2",
    "=={pid}==ERROR: AddressSanitizer: heap-use-after-free on address {address} at pc {address}",
    "java.lang.OutOfMemoryError: Java heap space\n\tat org.acme.Index.grow(Index.java:{line})",
    "Caused by: java.net.ConnectException: Connection refused: /{ip}:{port}",
    "pod/api-{pod} OOMKilled exitCode=137 after {took}",
    "Readiness probe failed: Get http://{ip}:8080/healthz: context deadline exceeded ({took})",
    "failed to pull registry.acme.test/app@sha256:{digest}: 503 Service Unavailable",
    "failed to pull registry.acme.test/app@sha256:{digest}: 401 Unauthorized",
    "fatal: reference is not a tree: {sha}",
    "HEAD is now at {short}; could not apply patch to src/a.c",
    "An error occurred (ThrottlingException) when calling DescribeTasks, RequestId: {uuid}",
    "curl: (28) Operation timed out after {pid} milliseconds with {big} bytes received",
    "curl: (6) Could not resolve host: mirror.acme.test ({took})",
    "npm ERR! code E401\nnpm ERR! A complete log of this run can be found in: {temporary}/debug.log",
    "ERROR: No matching distribution found for torch==2.9.0 (from {temporary}/requirements.txt)",
    "E: Could not get lock /var/lib/dpkg/lock. It is held by process {pid}",
    "{when} [worker-{n}] ERROR job {uuid} lost its lease after {took}",
    "{when} ERROR deadlock detected: process {pid} waits for transaction {big}",
    "Killed process {pid} (python3) total-vm:{big}kB, anon-rss:{big}kB",
    "cannot open {temporary}/cache/index.db: database is locked ({took})",
    "Test run timed out in suite storage after {took}; {n} of {line} tests were done",
    "<asyncio.Task object at {address}> was destroyed but it is pending",
    "Segmentation fault (core dumped), signal 11 in pid {pid}, address {address}",
    "coverage {percent} is below the limit of the project",
    "received {big} of {big} bytes from https://cache.acme.test/objects/{sha}?part={n}",
    "lost connection to {ip} port {port} (attempt {n}/{line})",
    "Cache not found for keys: linux-pip-{digest}",
    "#{n} {n}.{n} ERROR: process \"/bin/sh -c make\" did not complete successfully: exit code: 2",
    "Xid (PCI:0000:{short}): 79, pid={pid}, GPU has fallen off the bus".replace("{short}", "3b:00"),
    "watchdog: BUG: soft lockup - CPU#{n} stuck for {n}s! [python3:{pid}]",
    "::error file=src/a.ts,line={line}::Type 'string' is not assignable to type 'number'. (TS2322)",
)  # fmt: skip


def renderings(seed: int = 20261121) -> Iterator[tuple[int, str]]:
    """Each failure as several runs print it: the number of its template, and the text."""
    source = random.Random(seed)
    for number, template in enumerate(TEMPLATES):
        for _ in range(RENDERINGS):
            text = template
            while "{" in text:
                name = text[text.index("{") + 1 : text.index("}")]
                text = text.replace(f"{{{name}}}", FIELDS[name](source), 1)
            yield number, text
