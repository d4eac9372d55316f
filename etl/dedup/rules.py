r"""The rule table that makes two texts equal where they mean the same: data, in order.

How to read it. `LINE_STARTS` take away what carried a line. `SHAPES` are unambiguous wherever they stand (a UUID is a
UUID). `KEEPERS` then protect digits that carry meaning: a protected digit is out of reach of every later row. `MASKS`
replace what is left and varies between two runs; the row for numbers decides by the words around each of them, keepers
first (`etl.dedup.numbers`). `SKELETON` goes further, over the result of all these, for the family. The order is the
specification: a row may rely on the rows above it.

How to write a rule:
- Add a row here and its rows to tests/unit/dedup/test_rules.py, raise `RULES_VERSION`, make the golden file again.
- It must be linear on hostile input. Begin with a literal or a character class (the engine then skips to candidates)
  and refuse, by a look-behind after that first character, to start inside a token. Bound what something can follow.
- No possessive quantifier: CPython 3.11.2 and 3.11.7 disagree on those in repeated groups, and so would the ids.
- `need` and `hint` let a row be passed over cheaply; most of the speed comes from them.
- No pattern may span a line feed, except by `\n` as its first character, which means the start of a line.
- No message of a product as a whole and no template of a data set may stand here; words that say what a number is may.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from etl.dedup import numbers
from etl.dedup.protected import protect, protect_match

RULES_VERSION = 2
"""Part of every id. Raise it with every change that moves an id; the golden file of the tests notices."""

Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: what is looked for, and what stands there afterwards.

    need: a literal that occurs in every text that the pattern matches; '' where there is none.
    hint: a pattern, cheap to look for, that matches somewhere in every text that `pattern` matches; '' for none.
    """

    name: str
    pattern: str
    replacement: Replacement
    need: str = ""
    hint: str = ""


# -- fragments ---------------------------------------------------------------------------------------------------------

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_MONTH_HINT = "[JFMASOND](?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)"
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,:]\d{1,9})?"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[A-Z]{1,3}[SD]T|[+-]\d{2}:?\d{2}))?(?![A-Za-z0-9])"
# A fragment that ends in _REST is what follows the first digit.
_FIGURES_REST = (
    r"\d{3}(?:-(?:0?[1-9]|1[0-2])-|/(?:0?[1-9]|1[0-2])/)(?:[12]\d|3[01]|0?[1-9])(?!\d)"
    rf"(?:(?:[T:_-]| {{1,2}}){_CLOCK}{_ZONE}|[T_-]\d{{2}}(?:[_-]\d{{2}}){{2}}(?:[_.-]\d{{1,9}})?Z?)?(?![A-Za-z0-9])"
)
_SLASHED_REST = rf"\d?/\d{{1,2}}/(?:\d{{4}}|\d{{2}})(?![\d/])(?:,? {_CLOCK}(?: [AP]M)?)?(?![\w])"
_ACCESS_LOG_REST = rf"\d/{_MONTH}/\d{{4}}:\d{{2}}:\d{{2}}:\d{{2}}(?: [+-]\d{{4}})?"
_CLOCK_REST = rf"\d?:\d{{2}}:\d{{2}}(?:[.,:]\d{{1,9}})?{_ZONE}(?![:\w])"
_NAMED = (
    rf"(?:{_WEEKDAY},? )?(?:{_MONTH} {{1,2}}\d{{1,2}}|\d{{1,2}}[ -]{_MONTH})(?!\d)(?:(?:,? |-)\d{{4}}(?!:))?"
    rf"(?:,? |:|T){_CLOCK}(?: [AP]M)?{_ZONE}(?: \d{{4}}(?![\w:]))?"
)
_STAMP = rf"(?:[12]{_FIGURES_REST}|\d{_ACCESS_LOG_REST}|\d{_SLASHED_REST}|\d{_CLOCK_REST}|{_NAMED})"
_PATH_START = r"(?<![\w./~+-].)"

# -- line starts: written by what carried the line, not by what failed -------------------------------------------------

LINE_STARTS: tuple[Rule, ...] = (
    Rule(
        "time stamp of a runner or logger",
        rf"\n[\[(<]?(?=[\dJFMASONDTW]){_STAMP}[\])>]?(?:[ |,]+(?=\S)|(?=\n|\Z))",
        "\n",
    ),
    Rule("command of a workflow log", r"\n##\[(?:error|command|debug|group)\] *", "\n", "\n##["),
    Rule("annotation of a workflow", r"\n::error(?: [^\n:]{0,300}(?::[^\n:]{1,300}){0,4})?:: *", "\n", "\n::error"),
    Rule("seconds of a container build", r"\n#\d{1,5} \d{1,6}\.\d{1,4} ", "\n", "\n#"),
    Rule("worker of a parallel test run", r"\n\[gw\d{1,4}\] *(?:\[ *\d{1,3}%\] *)?", "\n", "\n[gw"),
    Rule(
        "letter, time and thread of a C++ or Go logger",
        r"\n([IWEFD])\d{4,8} {1,2}\d{2}:\d{2}:\d{2}\.\d{3,9} {1,9}\d{1,10} ",
        r"\n\1 ",
    ),
)

# -- shapes: unambiguous wherever they stand ---------------------------------------------------------------------------

_CODE_HOST = re.compile(
    r"(?:(?:www|api|raw|codeload|gist)\.)?(?:git(?:hub|lab)(?:usercontent)?|bitbucket|codeberg)\.(?:com|org)", re.ASCII
)
_OWNER_PROJECT = re.compile(r"/(?:repos/)?[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]", re.ASCII)


def _url(match: re.Match[str]) -> str:
    """Keep what a URL names: scheme, host, known port, and owner and project on a code host. Credentials never stay."""
    host, port, rest = match["host"], match["port"] or "", match["rest"] or ""
    kept = ""
    if _CODE_HOST.fullmatch(host):
        named = _OWNER_PROJECT.match(rest)
        kept = named[0] if named else ""
    more = "/*" if rest[len(kept) :].strip("/") else ""
    host = "<ip>" if _ADDRESS.fullmatch(host) else host
    port = port if port[1:] in numbers.KNOWN_PORTS or not port else ":<n>"
    return protect(f"{match['scheme']}://{host}{port}{kept.removesuffix('.git')}") + more


_RUNNER_DRIVE = re.compile(r"[A-Za-z]:/(?:a|actions-runner/_work|_work)/[^/]{1,100}/[^/]{1,100}/", re.ASCII)


def _windows_path(match: re.Match[str]) -> str:
    """Write a Windows path as the same path looks elsewhere: slashes, no drive, no working folder of a runner."""
    path = re.sub(r"[\\/]+", "/", match[0])
    root = _RUNNER_DRIVE.match(path)
    return path[root.end() :] if root else path[2:]


_MADE_UP = re.compile(r"tmp|temp|pytest-|pip-|\D*\d|[0-9a-f]{6,}\Z|[A-Za-z]*[a-z][A-Z]", re.ASCII)
_MADE_UP_FILE = re.compile(r"tmp|cc[A-Za-z0-9]{6}\.|[0-9a-f]{8,}\Z", re.ASCII)


def _temporary(match: re.Match[str]) -> str:
    """Drop the made-up names in a temporary path; a plain name at its end stays."""
    *folders, last = match["path"].split("/")
    kept = [folder for folder in folders if folder and not _MADE_UP.match(folder)]
    if last and not _MADE_UP_FILE.match(last):
        kept.append(last)
    return "/".join(["<tmp>", *kept])


def _hexadecimal(match: re.Match[str]) -> str:
    """Keep a hexadecimal number that is a code (NTSTATUS, HRESULT, after a word like 'status'); mask an address."""
    return protect(match[0]) if numbers.is_system_code(match[0]) or numbers.follows_code_word(match) else "<addr>"


_SCHEME = r"(?:https?|wss?|ftps?|ssh|git|grpc|tcp|udp|postgres(?:ql)?|mysql|rediss?|amqps?|mongodb(?:\+srv)?|s3|gs|oci)"

SHAPES: tuple[Rule, ...] = (
    Rule(
        "URL",
        rf"(?P<scheme>{_SCHEME})://(?:[^\s/@'\"<>]{{0,256}}@)?(?P<host>\[[0-9A-Fa-f:.]{{2,45}}\]|<ip>|[\w.-]{{1,253}})"
        r"(?P<port>:\d{1,5})?(?P<rest>[/?#][^\s'\"<>`)\]}|,;]{0,2000})?(?<![.:!])",
        _url,
        "://",
    ),
    Rule(
        "e-mail address",
        r"[A-Za-z0-9._%+-](?<![A-Za-z0-9._%+/:-].)[A-Za-z0-9._%+-]{0,64}@[A-Za-z0-9-]{1,63}"
        r"(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2,24}(?![\w-])",
        "<email>",
        "@",
    ),
    Rule(
        "UUID",
        r"[0-9a-fA-F](?<![0-9A-Za-z].)[0-9a-fA-F]{7}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])",
        "<uuid>",
        need="-",
        hint=r"-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-",
    ),
    Rule("date, time in figures", rf"[12](?<![\w.].){_FIGURES_REST}", "<ts>", hint=r"[-/](?<=\d.)\d{1,2}[-/]\d"),
    Rule("compact date and time", r"20\d{6}(?<![\w.]\d{8})[T_-]\d{4,6}(?:\.\d{1,9})?Z?(?!\w)", "<ts>", "20"),
    Rule("date, time with a month's name", rf"(?<![\w.]){_NAMED}", "<ts>", ":", hint=_MONTH_HINT),
    Rule("date, time of an access log", rf"\d(?<![\w.].){_ACCESS_LOG_REST}", "<ts>", "/", hint=r"/[JFMASOND](?<=\d/.)"),
    Rule("date with slashes", rf"\d(?<![\w./].){_SLASHED_REST}", "<ts>", need="/", hint=r"/(?<=\d.)\d{1,2}/\d"),
    Rule("time of day", rf"\d(?<![\w.:].){_CLOCK_REST}", "<ts>", hint=r":\d\d:\d\d"),
    Rule(
        "Windows path",
        r"[A-Za-z](?<!\w.):[\\/]{1,2}(?=[\w.])[^\s'\"<>|:*?()]{1,400}",
        _windows_path,
        need=":",
        hint=r":(?<=\W[A-Za-z]:)[\\/]",
    ),
    Rule(
        "temporary folder of the system",
        r"/(?<![\w.~/-].)(?:(?:private/)?var/folders/[\w+]{1,4}/[\w+]{1,64}/[A-Z]|var/tmp|dev/shm|[\w.~/-]{0,100}?/(?:Temp|_temp))(?=/)",
        "/tmp",  # noqa: S108 (a text, not a file)
        need="/",
        hint=r"/(?:folders|Temp|tmp|shm|_temp)/",
    ),
    Rule("temporary path", r"/tmp/(?P<path>[\w.+@=~%,/-]{1,400})", _temporary, "/tmp/"),  # noqa: S108 (a text, not a file)
    Rule(
        "folder of installed packages",
        rf"[A-Za-z./~]{_PATH_START}[\w./~+@%-]{{0,400}}/(?:site|dist)-packages/",
        "<sp>/",
        "-packages/",
    ),
    Rule(
        "folder of the standard library",
        rf"[A-Za-z./~]{_PATH_START}[\w./~+@%-]{{0,400}}/lib/python3\.\d{{1,2}}/",
        "<py>/",
        "/lib/python3",
    ),
    Rule(
        "folder of node modules",
        rf"[A-Za-z./~]{_PATH_START}[\w./~+@%-]{{0,400}}/node_modules/",
        "<nm>/",
        "/node_modules/",
    ),
    Rule(
        "working folder of a runner",
        r"/(?<![\w.~-].)(?:(?:home/runner/work|Users/runner/work|__w|(?:[\w.-]{1,60}/){0,4}_work)/[\w.-]{1,100}/[\w.-]{1,100}/"
        r"|github/workspace/|builds/[\w.-]{1,100}/[\w.-]{1,100}/|var/lib/jenkins/workspace/"
        r"|(?:var/jenkins_home|home/jenkins(?:/agent)?)/workspace/[\w.@%-]{1,100}/"
        r"|(?:[\w.~-]{1,60}/){0,6}_bazel_[\w.-]{1,64}/[0-9a-f]{32}/(?:execroot/[\w.-]{1,100}/)?)",
        "",
        need="/",
        hint="/(?:work|__w|_work|workspace|builds)/|/_bazel_",
    ),
    Rule(
        "home folder",
        r"/(?<![\w.~-].)(?:(?:home|Users)/[\w.-]{1,64}|root)/(?=[\w.])",
        "~/",
        need="/",
        hint="/(?:home|Users|root)/",
    ),
    Rule("hash of a Rust symbol", r"::h[0-9a-f]{16}(?!\w)", "", "::h"),
    Rule("JSON web token", r"eyJ[\w-]{10,2000}\.[\w.-]{10,4000}", "<blob>", "eyJ"),
    Rule(
        "long run of letters and figures",
        r"[A-Za-z0-9+/=_-](?<![A-Za-z0-9+/=_-].)[A-Za-z0-9+/=_-]{256,}",
        "<blob>",
        hint=r"\n[^\n]{257}",
    ),
    Rule(
        "id of a request or session",
        r"[iI][dD][\"']?(?: ?[:=] ?| )[\"']?(?=[\w:+/=-]{0,127}\d)[\w:+/=-]{6,128}",
        numbers.request_id,
    ),
    Rule(
        "made-up name",
        r"[A-Za-z0-9](?<![\w.].)(?=[A-Za-z0-9]{19})(?:(?<=\d)|[A-Za-z]{0,12}\d)\d{0,12}(?:[A-Za-z]{1,8}\d{1,12}){3}[A-Za-z0-9]{0,255}(?<=[A-Za-z0-9]{20})(?!\w)",
        "<n>",
        hint=r"\d[A-Za-z]{1,8}\d{1,12}[A-Za-z]{1,8}\d{1,12}[A-Za-z]{1,8}\d",
    ),
    Rule("hexadecimal number", r"0(?<![\w.].)[xX][0-9a-fA-F]{1,64}(?![0-9a-zA-Z])", _hexadecimal, hint="0[xX]"),
)

# -- keepers: what tells two problems apart although it holds digits ---------------------------------------------------

KEEPERS: tuple[Rule, ...] = (
    Rule("name behind a scope", r"::[A-Za-z_]\w{0,200}(?:\[[^\[\]\n]{1,300}\])?", protect_match, "::"),
    Rule(
        "name of a test",
        r"(?:test|Test)\w{0,200}(?:[./]#?\w{1,100}){0,6}(?:\[[^\[\]\n]{1,300}\])?",
        protect_match,
        "est",
    ),
    Rule(
        "code of a tool or report",
        r"[A-Z](?<![\w.-].)[A-Z0-9]{1,15}(?:-\d{1,7}){1,3}(?![\w-])",
        numbers.coded_name,
        need="-",
        hint=r"-(?<=[A-Z0-9]-)\d",
    ),
    Rule("tag of an image", r":(?<=[a-z]:)\d{1,4}(?:\.\d{1,4}){0,3}-[a-z]\w{0,30}", protect_match, ":"),
    Rule("number of a device fault", r"Xid \([^()\n]{1,60}\): \d{1,4}", numbers.device_fault, "Xid ("),
)

# -- masks: what varies between two runs -------------------------------------------------------------------------------


def _sorted_map(match: re.Match[str]) -> str:
    """Put the entries of a map, printed in no promised order, in order."""
    return "map[" + " ".join(sorted(match[1].split(" "))) + "]"


def _sorted_set(match: re.Match[str]) -> str:
    """Put the members of a set of quoted names, printed in no promised order, in order."""
    return "{" + ", ".join(sorted(match[1].split(", "))) + "}"


_ARCHIVE = "".join(
    rf"(?<!\.{extension})"
    for extension in ["gz", "xz", "zip", "whl", "jar", "dll", "exe", "so", "deb", "rpm", "tgz", "msi"]
)

MASKS: tuple[Rule, ...] = (
    Rule(
        "host named after its address",
        r"[A-Za-z0-9](?<![\w.-].)(?:[A-Za-z]\w{0,20}[-.]){0,4}?(?:[A-Za-z]{0,3}\d{9,12}|(?<=[\d-])\d{0,3}(?:[-.]\d{1,3}){3})"
        rf"(?:[A-Za-z-][\w-]{{0,40}})?(?:\.[\w-]{{1,40}}){{0,5}}\.(?=[\w-]{{0,39}}[A-Za-z])[\w-]{{1,40}}(?![\w.-]){_ARCHIVE}",
        "<ip>",
        hint=r"\d(?:[-.]\d{1,3}[-.]\d{1,3}|\d{8})[\w-]{0,44}\.[\w.-]{0,245}[A-Za-z]",
    ),
    Rule("hosted runner", r"fv-az\d{1,6}-\d{1,6}", "<runner>", "fv-az"),
    Rule(
        "runner of a project",
        r"runner-[\w-]{6,12}-project-\d{1,12}-concurrent-\d{1,4}",
        "<runner>",
        "-project-",
    ),
    Rule(
        "PCI address",
        r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-9a-f])?(?![\w:])",
        "<pci>",
        need=":",
        hint=r":[0-9a-fA-F]{2}:[0-9a-fA-F]{2}",
    ),
    Rule(
        "hardware address",
        r"[0-9a-fA-F](?<![\w:.-].)[0-9a-fA-F](?:[:-][0-9a-fA-F]{2}){5,11}(?![\w:])",
        "<mac>",
        hint=r"[:-][0-9a-fA-F]{2}[:-][0-9a-fA-F]{2}[:-]",
    ),
    Rule(
        "IPv6 address",
        r"[0-9a-fA-F:](?<![\w:.].)(?:(?<=:)(?=:)|(?=[0-9a-fA-F]{0,3}:[0-9a-fA-F]{0,4}:))(?=[0-9a-fA-F:]{0,38}\d)(?:[0-9a-fA-F]{0,3}(?::[0-9a-fA-F]{1,4}){7}"
        r"|[0-9a-fA-F]{0,3}(?::[0-9a-fA-F]{1,4}){0,6}::?(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,5})?)(?:%\w{1,16})?(?![\w:])",
        numbers.address,
        need=":",
        hint=":[0-9a-fA-F]{0,4}:",
    ),
    Rule(
        "pod of a replica set",
        r"-(?=[a-z]{0,9}\d|[b-df-hj-np-tv-xz]{8,10}-[a-z]{0,4}\d)[0-9a-z]{8,10}-[b-df-hj-np-tv-xz2-9]{5}(?![\w-])",
        "-<pod>",
        "-",
        hint=r"-[0-9a-z]{8,10}-[b-df-hj-np-tv-xz2-9]{5}",
    ),
    Rule(
        "pod of a daemon",
        r"((?<=[pP]od)s?[/ :=\"']{1,3}(?:[a-z0-9]{1,40}-){1,8})(?=[a-z]{0,4}\d)[a-z0-9]{5}(?![\w-])",
        r"\1<pod>",
        "od",
        hint="[pP]od",
    ),
    Rule(
        "commit or digest",
        r"[0-9a-f](?<![0-9A-Za-z_.].)(?:(?<=[a-f])(?=[a-f]{0,38}\d)|(?=\d{0,38}[a-f]))(?=[a-f]{0,38}\d?[a-f]{0,38}\d)[0-9a-f]{6,127}"
        r"(?![0-9A-Za-z_])",
        "<n>",
        hint=r"\d(?:[a-f]|(?<=[a-f].))",
    ),
    Rule(
        "key in capitals",
        r"[A-Z0-9](?<![\w.-].)(?=[A-Z0-9]{11})(?:(?<=[A-Z])|(?=\d{0,126}[A-Z]))(?=(?:[A-Z]{0,12}\d){3})[A-Z0-9]{11,127}(?![\w-])",
        "<n>",
        hint=r"\d(?:[A-Z]|(?<=[A-Z].)\d)",
    ),
    Rule(
        "made-up end of a name",
        r"-(?<=[a-z0-9]-)(?=[a-z]{0,3}\d{1,4}[a-z])[bcdfghjklmnpqrstvwxz2-9]{5}(?![\w-])",
        "-<pod>",
        "-",
    ),
    Rule(
        "digest in the name of a file",
        r"[.](?<=[\w-].)(?=[a-f]{0,31}\d)(?=\d{0,31}[a-f])[0-9a-f]{8,64}(?=\.[a-z]{1,5}(?![\w]))",
        ".<n>",
        need=".",
        hint=r"\.[0-9a-f]{8,64}\.[a-z]",
    ),
    Rule(
        "made-up name behind a digest",
        r"-<n>-(?=[a-z]{0,3}\d{1,3}[a-z])[b-df-hj-np-tv-xz0-9]{4,5}(?![\w-])",
        "-<n>-<pod>",
        "-<n>-",
    ),
    Rule("hash behind a class", r"@(?<=\w@)(?=[a-f]{0,16}\d)[0-9a-f]{5,16}(?![\w.])", "@<addr>", "@"),
    Rule("bytes of a saved example", r"b'[A-Za-z0-9+/=]{12,2000}'", "b'<blob>'", "b'"),
    Rule("long number glued to a name", r"_(?<=[A-Za-z]_)-?\d{5,}(?![A-Za-z0-9])", "_<n>", "_"),
    Rule("long number behind a dot", r"\.(?<=[A-Za-z]\.)(?:(?<=core\.)\d{1,9}|\d{3,})(?![\w.])", ".<n>", "."),
    Rule("how often an event came", r"\(x\d{1,9}(?= over | times)", "(x<n>", "(x"),
    Rule("number behind leaders", r"\.\.\.\d{1,12}(?![\w.])", "...<n>", "..."),
    Rule("number", numbers.NUMBER, numbers.number),
    Rule("number glued to a counted name", r"\d(?<=[A-Za-z].)\d{0,9}(?![\w.])", numbers.glued),
    Rule("line and column", r":<n>:<n>(?<=[\w)]:<n>:<n>)", ":<n>", ":<n>:<n>"),
    Rule("sign of a masked number", r"[-+](?<![\w>)\]].)[-+]{0,8}<n>", "<n>", hint="[-+]<n>"),
    Rule("time in several units", r"<dur>(?:,? ?(?:and )?<dur>){1,5}", "<dur>", "<dur>"),
    Rule("map in no order", r"map\[([^\[\]\n]{1,2000})\]", _sorted_map, "map["),
    Rule("set in no order", r"\{('[^'\n{}]{0,100}'(?:, '[^'\n{}]{0,100}'){1,40})\}", _sorted_set, "{'"),
)

# -- skeleton: over a normalized text, for the family ------------------------------------------------------------------

STAR = "\x0e"
"""What stands for a value while the skeleton is made; it is written as * at the end, and no text holds it before."""

_WORD = r"[\w.<>/\\@#$%~+*!?&|-]"

SKELETON: tuple[Rule, ...] = (
    Rule("text in double quotes", r'"[^"\n]{0,300}"', STAR, '"'),
    Rule("text in single quotes", r"'(?<!\w.)[^'\n]{0,300}'(?!\w)", STAR, "'"),
    Rule("value behind an equals sign", r"=(?<=[\w)\]]=)[^\s,;=()\[\]{}]{1,300}", f"={STAR}", "="),
    Rule("value behind leaders", r"\.\.\.<n>", f"...{STAR}", "...<n>"),
    Rule(
        "path",
        r"/(?<![\w./].)[\w.@+~<>*$%/-]{1,1000}(?<![.,])",
        STAR,
        "/",
    ),
    Rule(
        "word with a figure or a masked value",
        rf"(?<!{_WORD})(?![A-Za-z]{{2,8}}\d(?!{_WORD})){_WORD}*?[0-9<]{_WORD}*",
        STAR,
    ),
    Rule(
        "dotted name",
        r"[A-Za-z](?<![\w.*].)(?![\w.-]{1,200}\.[A-Z][A-Z_]{2,60}(?![\w.]))[\w-]{0,60}(?:\.[\w*-]{1,60}){2,20}(?![\w.])",
        STAR,
        hint=r"\.[\w*-]{1,60}\.[\w*-]",
    ),
    Rule("word for a value", r"(?<![\w*])(?:true|false|null|nil|None|NULL|True|False|TRUE|FALSE)(?![\w*])", STAR),
    Rule(
        "name of a user",
        r"(?<=user )(?!from|request|name|is|has|was|not|data|space|authentication|input)[\w.-]{1,64}(?=[ \n.,]|\Z)",
        STAR,
        "user ",
    ),
    Rule("name of nobody", r"(?<=user )(?=from )", f"{STAR} ", "user from "),
    Rule("name after for", r"(?<=for )[\w.-]{1,64}(?= (?:from|by|\[))", STAR, "for "),
    Rule("brackets around nothing", r" \(\)", f" ({STAR})", " ()"),
    Rule("several values in a row", rf"{STAR}(?:[ ,:;/|#@*-]{{0,3}}{STAR}| \({STAR}\)){{1,500}}", STAR, STAR),
)
