"""What a number means, by the words around it: kept where it tells two problems apart, masked where it only counts.

The word lists are the rules here: a new one is a word in a list, with its row in tests/unit/dedup/test_rules.py.
Everything looks at a bounded stretch to the left and right in the same line, so the cost per number is constant.
"""

import re
from functools import lru_cache
from typing import Final

from etl.dedup.protected import PROTECTED, protect

LOOK_BACK: Final = 48
LOOK_AHEAD: Final = 40

KNOWN_PORTS: Final = frozenset((
    "20", "21", "22", "23", "25", "53", "67", "68", "80", "88", "110", "111", "123", "135", "139", "143", "161",
    "179", "389", "443", "445", "465", "514", "543", "587", "636", "873", "989", "990", "993", "995", "1080",
    "1194", "1433", "1521", "1723", "1883", "2049", "2181", "2375", "2376", "2377", "2379", "2380", "3000", "3128",
    "3306", "3389", "4222", "4317", "4318", "4369", "4443", "5000", "5044", "5222", "5432", "5601", "5671", "5672",
    "5900", "5984", "6006", "6379", "6443", "6660", "7000", "7001", "7077", "7474", "7687", "8000", "8008", "8080",
    "8081", "8086", "8088", "8125", "8200", "8300", "8443", "8500", "8529", "8888", "9000", "9042", "9090", "9091",
    "9092", "9093", "9100", "9200", "9300", "9411", "9418", "10250", "10255", "11211", "11434", "15672", "16686",
    "25565", "26257", "26379", "27017", "28015", "50051", "50070", "61616",
))  # fmt: skip
"""Ports that name a service; any other is taken for one that the system handed out."""

CODE_ENDINGS: Final = (
    "exit", "exited", "exits", "exiting", "status", "statuses", "code", "codes", "errno", "errnum", "errcode",
    "signal", "sqlstate", "hresult", "ntstatus", "error", "oserror", "winerror", "opcode", "syscall", "vector",
    "retval", "retcode", "returncode", "fault", "trap", "reason", "curl", "xid",
)  # fmt: skip
"""A number after a word that ends like this is a code: exitCode=137, exit status 1, "code": 401, [Errno 28]."""

CODE_WORDS: Final = frozenset((
    "rc", "sig", "ret", "err", "msg", "http", "killed", "returned", "returns", "event", "smtp", "ftp",
))  # fmt: skip
"""The same for whole words too short, or too common as an ending of others."""

FILLERS: Final = frozenset((
    "with", "of", "was", "is", "to", "equal", "be", "by", "as", "a", "an", "the", "value", "values", "number", "no",
    "nr", "non-zero", "nonzero", "but",
))  # fmt: skip
"""Words that may stand between such a word and its number: exited with 1, exit value 134, signal number 9."""

HTTP_LEFT: Final = frozenset((
    "expected", "expect", "got", "received", "receive", "returned", "return", "returning", "response", "responded",
    "replied", "answered", "answer", "http", "equal", "be", "wanted", "want", "actual", "retry", "get", "post",
    "put", "patch", "delete", "head", "options",
))  # fmt: skip
"""After these a number in the ranges of HTTP statuses is one: expected 200 but got 500."""

HTTP_REASONS: Final = (
    "OK", "Created", "Accepted", "No Content", "Moved", "Found", "See Other", "Not Modified", "Temporary Redirect",
    "Permanent Redirect", "Client Error", "Server Error", "Bad", "Unauthorized", "Payment", "Forbidden", "Not ",
    "Method ", "Proxy", "Request", "Conflict", "Gone", "Length", "Precondition", "Payload", "URI", "Unsupported",
    "Range", "Expectation", "I'm a teapot", "Misdirected", "Unprocessable", "Locked", "Failed Dependency", "Too ",
    "Upgrade", "Unavailable", "Internal", "Service", "Gateway", "HTTP", "Variant", "Insufficient", "Loop",
    "Network", "Error", "error", "response", "status", "code",
)  # fmt: skip
"""What stands after an HTTP status, as RFC 9110 and the usual clients write it."""

HTTP_FAILED: Final = ("failed", "failure", "rejected", "refused", "denied", "unsuccessful", "request", "error")
"""After these, alone in parentheses, it is one too: upload failed (503)."""

VERSION_ENDINGS: Final = (
    "version", "versions", "release", "python", "pypy", "java", "jdk", "jre", "openjdk", "nodejs", "node.js",
    "golang", "ruby", "php", "perl", "rust", "rustc", "gcc", "g++", "clang", "llvm", "msvc", "cuda", "cudnn",
    "rocm", "cudart", "toolkit", "ubuntu", "debian", "fedora", "centos", "rhel", "alpine", "macos", "windows",
    "android", "ios", "ipados", "xcode", "sdk", "postgres", "postgresql", "mysql", "mariadb", "redis", "c++",
    "openssl", "tls", "ssl", "usb", "pep", "rfc", "iso", "level", "abi", "api", "protocol", "schema", "capability",
    "rtx", "gtx", "geforce", "radeon", "vulkan", "opengl", "directx", "metal", "qt", "angular", "react", "vue",
    "django", "rails", "spring", "pytorch", "tensorflow", "numpy", "keras", "opset", "studio", "chrome", "chromium",
    "firefox", "safari", "edge", "electron", "bluetooth", "iphone", "ipad", "pixel", "galaxy", "base", "ipv",
    "major", "minor",
)  # fmt: skip
"""A small number after a word that ends like this is part of a name: Python 3, Windows 11, TLS 1.2, opset 17."""

VERSION_WORDS: Final = frozenset((
    "ver", "go", "npm", "pip", "py", "os", "es", "gpu-driver", "driver", "npm@", "node@", "node:", "db2", "sm",
    "gfx", "arm",
))  # fmt: skip

REQUIREMENTS: Final = (
    "requires", "require", "required", "needs", "depends", "supports", "engine", "constraint", "python_requires",
)  # fmt: skip
"""Before a comparison with spaces (`requires python >= 3.8`) these say that its number is a version."""

MEASURES: Final = (
    "loss", "diff", "difference", "mean", "avg", "average", "score", "accuracy", "acc", "ratio", "speedup", "rate",
    "load", "elapsed", "took", "time", "times", "duration", "max", "min", "std", "median", "norm", "tolerance",
    "atol", "rtol", "threshold", "usage", "utilization", "temperature", "latency", "throughput", "within", "about",
    "approximately", "total", "after", "sum", "weight", "epsilon", "eps", "lr", "learning_rate", "percent",
    "progress", "offset", "width", "height", "task", "stage", "epoch", "step", "iteration",
)  # fmt: skip
"""A number like 2.5 after a word that ends like this is measured, not a version."""

COUNTED_NAMES: Final = (
    "rank", "worker", "thread", "pool", "gpu", "cpu", "node", "host", "runner", "agent", "executor", "shard",
    "replica", "partition", "goroutine", "pid", "tid", "gw", "container", "job", "process", "proc", "blk", "block",
    "part", "conn", "connection", "session", "task", "attempt", "exec", "instance", "vm", "machine", "pod",
    "server", "client", "slot", "actor", "queue", "core", "broker", "peer", "group", "run", "build", "pr",
    "storage", "disk", "slave", "subdir", "batch",
)  # fmt: skip
"""A number joined by a hyphen to one of these only counts: worker-17, pool-3-thread-7."""

GLUED_NAMES: Final = (
    "rank", "worker", "thread", "gpu", "cpu", "shard", "executor", "runner", "goroutine", "replica", "partition",
    "taskid", "$proxy",
)  # fmt: skip
"""The same without a hyphen: rank7, gpu0. Not `node`: node18 is a version."""

LINE_WORDS: Final = frozenset((
    "line", "lines", "col", "column", "row", "lineno", "position", "offset", "char", "index", "rank", "size",
    "count", "len", "length",
))  # fmt: skip
DEVICES: Final = (
    "cuda", "xpu", "gpu", "hip", "hpu", "npu", "tpu", "mps",
)  # fmt: skip
SOURCE_ENDINGS: Final = (
    ".py", ".pyx", ".pyi", ".pyc", ".c", ".cc", ".cpp", ".cxx", ".cu", ".cuh", ".h", ".hh", ".hpp", ".hxx", ".inl",
    ".m", ".mm", ".rs", ".go", ".java", ".kt", ".kts", ".scala", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx",
    ".vue", ".rb", ".php", ".pl", ".pm", ".swift", ".cs", ".fs", ".vb", ".lua", ".sh", ".bash", ".zsh", ".ps1",
    ".bat", ".cmd", ".yml", ".yaml", ".json", ".toml", ".xml", ".html", ".css", ".scss", ".md", ".rst", ".txt",
    ".cfg", ".ini", ".mk", ".cmake", ".gradle", ".sql", ".proto", ".ex", ".exs", ".erl", ".hs", ".ml", ".clj",
    ".dart", ".r", ".jl", ".f90", ".f", ".s", ".asm", ".mod", ".tf", ".bzl", ".td", ".ipynb",
)  # fmt: skip

UNITS_OF_TIME: Final = (
    r"ns|us|\u00b5s|\u03bcs|ms|s|h|nanos(?:econds?)?|micros(?:econds?)?|millis(?:econds?)?|[mun]?secs?|seconds?|mins?"
    r"|minutes?|hrs?|hours?|days?|weeks?"
)
UNITS_OF_SIZE: Final = r"[kKMGTPE]i?[Bb](?:ps|it|/s)?|[Bb]ytes?|[kmgtKMGT](?:ilo|ega|iga|era)bytes?|B(?:/s)?"

NUMBER: Final = (
    rf"\d(?<![A-Za-z0-9_.{PROTECTED}].)\d*(?:[.,]\d+)*(?P<rest>"
    rf"(?:[eE][-+]\d{{1,4}})(?![\w])"
    rf"|(?P<time>[ -]?(?:{UNITS_OF_TIME})|[md]|[dhm](?:\d{{1,3}}[hm]){{0,2}}\d{{1,3}}\.\d{{1,9}}s)(?![\w/])"
    rf"|(?P<size>(?:/\d+(?:\.\d+)?)? ?(?:{UNITS_OF_SIZE})|[kKMGT]i?)(?![\w])"
    r"|(?P<other> ?(?:it|ops)/s|[xX]|%|\u00b0C?|C|k?Hz|[MG]Hz|fps|px|rpm)(?![\w])"
    r"|(?P<tail>\w+)"
    r")?"
)
"""A number that does not begin inside a word, with its unit or whatever is glued to it. See `number`."""

_COMPOUND_TIME = re.compile(r"(?:[dhms]|ms)(?:\d{1,10}(?:\.\d{1,9})?(?:[dhms]|ms|us|ns))*\Z", re.ASCII)
_COUNTS = re.compile(r"(?:_\d+)+\Z|[xX]\d+(?:[xX]\d+)*\Z", re.ASCII)
_STATUS = re.compile(r"(?:10[0-3]|20[0-8]|226|30[0-8]|4[0-3]\d|451|49\d|50\d|51\d|52\d|530|599)\Z", re.ASCII)
_SYSTEM_CODE = re.compile(r"0[xX](?:[cC]0000[0-9a-fA-F]{3}|8[0-9a-fA-F]{7})\Z", re.ASCII)
_NEIGHBOUR = re.compile(r"(?:, ?|; ?)[-+]?\d", re.ASCII)
_ADDRESS = re.compile(r"(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}\Z", re.ASCII)
_EXCEPTION = re.compile(r"[a-z]Error: ['\"]?\Z")
_LEVEL = re.compile(r"\[[A-Za-z]{4,8}\] \Z", re.ASCII)
_IN_A_ROW = re.compile(r"(?<![\w.)-])[-+]?\d[\d.]{0,20}(?:[eE][-+]?\d{1,3})?[a-zA-Z%]{0,3}, ?\Z", re.ASCII)
_PLACE = re.compile(r":\d{1,9}\Z", re.ASCII)
_RANGE = re.compile(r"(?<![\w.+-])\d{1,20}(?:[-+]\d{1,20}){0,6}[-+]\Z", re.ASCII)
_SEPARATORS = " :=#(\"'[{<>`*-\t"


def _left(match: re.Match[str]) -> str:
    """A bounded stretch of the line in front of the match."""
    start = match.start()
    return match.string[max(0, start - LOOK_BACK) : start].rpartition("\n")[2]


def _last_word(left: str) -> str:
    """The last word in front, without separators and fillers, in lower case; '' where there is none."""
    for _ in range(3):
        word = left.rstrip(_SEPARATORS).rpartition(" ")[2]
        bare = word.lstrip("\"'([{<`*").lower()
        if bare not in FILLERS:
            return bare
        left = left.rstrip(_SEPARATORS)[: -len(word)]
    return ""


def is_system_code(text: str) -> bool:
    """Whether a hexadecimal number is an NTSTATUS of a crash or an HRESULT of a failure, by its leading digits."""
    return _SYSTEM_CODE.match(text) is not None


def follows_code_word(match: re.Match[str]) -> bool:
    """Whether the word in front says that what matched is a code."""
    return bool(_kind(_last_word(_left(match))) & _CODE)


_CODE, _VERSION, _MEASURE = 1, 2, 4


@lru_cache(maxsize=8192)
def _kind(word: str) -> int:
    """What a number after this word is, as bits: a code, a version, a measurement. Cached: they are few."""
    kind = 0
    bare = word.rstrip(")]'\"")
    if bare.endswith(CODE_ENDINGS) or bare in CODE_WORDS:
        kind |= _CODE
    if word == "node.js" or (
        (word.endswith(VERSION_ENDINGS) or word in VERSION_WORDS) and not word.endswith(SOURCE_ENDINGS)
    ):
        kind |= _VERSION
    if word.endswith(MEASURES):
        kind |= _MEASURE
    return kind


def number(match: re.Match[str]) -> str:
    """What stands in place of a number with whatever is glued to it; the last row of the masks."""
    if match.lastindex is None:
        return _plain(match, match[0])
    if match["time"] is not None:
        return "<dur>"
    if match["size"] is not None:
        return "<size>"
    tail = match["tail"]
    if tail is None:
        other = match["other"]
        return "<n>" if other is None else f"<n>{other.strip()}"
    if _COMPOUND_TIME.match(tail):
        return "<dur>"
    if _COUNTS.match(tail):
        return re.sub(r"\d+", "<n>", match[0])
    return protect(match[0])


def _plain(match: re.Match[str], figures: str) -> str:
    """A number on its own: keepers in order, then the mask."""
    left = _left(match)
    text, end = match.string, match.end()
    dots = figures.count(".")
    before = left[-1:]
    if dots >= 2:
        is_address = dots == 3 and _ADDRESS.match(figures) and left[-2:] != "==" and before != "-"
        return "<ip>" if is_address else protect(figures)
    if before in {"-", "+", "@", ":", ">", "<", "=", "^", "~"}:
        joined = _joined(left, before, figures)
        if joined is not None:
            return joined
    word, right = _last_word(left), text[end : end + LOOK_AHEAD]
    if _is_kept(word, left, figures, right):
        return protect(figures)
    if dots == 1 and not _is_measured(word, left, figures, right):
        return protect(figures)
    return "<n>"


def _joined(left: str, before: str, figures: str) -> str | None:
    """A number glued by a sign to what stands in front: names, versions and ports; None where that decides nothing."""
    front = left[-2:-1]
    if before in "-+":
        if not (front.isalnum() or front == "_" or front == "+") or _RANGE.search(left):
            return None
        name = left[:-1].lower()
        return "<n>" if name.endswith(COUNTED_NAMES) or len(figures) >= 6 else protect(figures)
    if before == "@":
        return protect(figures) if front.isalnum() and len(figures) <= 6 else None
    if before == ":":
        return _port(left[:-1], figures)
    if left[-2:] in ("==", ">=", "<=", "~=", "!="):
        named = left[-3:-2].isalnum() or left.endswith(
            ("]" + left[-2:], '"' + left[-2:], "," + left[-2:], " >=", " <=")
        )
        return protect(figures) if named else None
    if before in "^~" or (before in "<>" and "." in figures):
        return protect(figures)
    return None


def _port(front: str, figures: str) -> str | None:
    """A number after a colon: a port that names a service stays, a line number and a handed-out port do not."""
    host = front.rpartition(" ")[2].lower()
    if not host or not (host[-1].isalnum() or host[-1] in "]>"):
        return None
    host = _PLACE.sub("", host)
    if host.endswith(SOURCE_ENDINGS + DEVICES) or host.lstrip("(\"'[") in LINE_WORDS:
        return "<n>"
    if figures in KNOWN_PORTS and ("." in host or host[-1] in "]>" or "localhost" in host or int(figures) >= 1024):
        return protect(figures)
    return None


def _is_kept(word: str, left: str, figures: str, right: str) -> bool:
    """Whether the words around make a number one that tells problems apart."""
    size = len(figures)
    kind = _kind(word)
    if kind & _CODE and size <= 10 and not _EXCEPTION.search(left) and not _LEVEL.search(left):
        return True
    if size == 3 and _STATUS.match(figures) and _is_http(word, left, right):
        return True
    if kind & _VERSION and size <= 6:
        return True
    if right.startswith(("-bit", " bit", "-Bit", "-D")):
        return True
    if word == "port" and figures in KNOWN_PORTS:
        return True
    return left.rstrip()[-1:] in ("=", "<", ">", "~") and any(name in left.lower() for name in REQUIREMENTS)


def _is_http(word: str, left: str, right: str) -> bool:
    """Whether a number in the ranges of HTTP statuses stands where a status stands."""
    if right.lstrip(" -:)(").startswith(HTTP_REASONS):
        return True
    if left.endswith(("to equal ", "to be ", "toBe(", "toEqual(")):
        return True
    if left.endswith(" (") and right.startswith(")"):
        return word.endswith(HTTP_FAILED)
    word = word.rstrip(")]'\",/.0123456789")
    return word in HTTP_LEFT or word.endswith(("http", "response"))


def _is_measured(word: str, left: str, figures: str, right: str) -> bool:
    """Whether a number like 2.5 is a measurement rather than a version."""
    whole, _, fraction = figures.partition(".")
    if len(fraction) >= 3 or len(whole) >= 3 or whole == "0" or "," in figures:
        return True
    if _kind(word) & _MEASURE or left.endswith((" == ", " != ", " < ", " > ", " <= ", " >= ", "~", "\u2248")):
        return True
    if right.startswith((" == ", " != ", " < ", " > ", " <= ", " >= ", "/")):
        return True
    return _NEIGHBOUR.match(right) is not None or _IN_A_ROW.search(left) is not None


def glued(match: re.Match[str]) -> str:
    """A number glued to a name: masked behind a name that is only counted (rank7), kept in every other (int8)."""
    start = match.start()
    name = match.string[max(0, start - 12) : start].lower()
    return "<n>" if name.endswith(GLUED_NAMES) else match[0]


def coded_name(match: re.Match[str]) -> str:
    """Keep a code like ISO-8859-1 or CVE-2024-1; a counted name in capitals (GPU-3) only counts."""
    name = match[0].partition("-")[0].lower()
    return match[0] if name in COUNTED_NAMES else protect(match[0])


def device_fault(match: re.Match[str]) -> str:
    """Keep the number behind the bracket, leave the device's address to the masks."""
    place, _, fault = match[0].rpartition(" ")
    return f"{place} {protect(fault)}"


def address(match: re.Match[str]) -> str:
    """An IPv6 address: eight groups, or fewer with two colons together somewhere; anything else stays as it is."""
    text = match[0].partition("%")[0]
    is_address = ("::" in text and ":::" not in text and len(text) > 2) or (
        text.count(":") == 7 and not text.endswith(":")
    )
    return "<ip>" if is_address else match[0]


IDENTIFIED = (
    "request", "trace", "correlation", "session", "span", "invocation", "activity", "operation", "transaction",
)  # fmt: skip


def request_id(match: re.Match[str]) -> str:
    """The id of a request, session or the like says nothing: mask it behind the word that says so."""
    start = match.start()
    if not match.string[max(0, start - 16) : start].lower().rstrip(" _-").endswith(IDENTIFIED):
        return match[0]
    return match[0][:2] + ": <id>"
