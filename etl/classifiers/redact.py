"""Takes secrets and names out of a text before it leaves the machine. Pure; the text in the database stays as it is.

A table of rules, tried in order; what a rule finds is replaced by a typed placeholder, `[REDACTED:github-token]`, so
that a reader, human or model, still sees what kind of thing stood there. Redaction is a safety net with known holes
(`tests/unit/classifiers/test_redact.py` lists them), not a licence to paste secrets into issues.

Time is linear in the text's length, also for hostile ones: each pattern begins with fixed characters or behind a look-
behind that forbids a start inside a run, and nothing unbounded stands before something that can fail.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTION_VERSION = 2
"""Raise it with any change of the rules."""

_PLACEHOLDER = "[REDACTED:{}]"

_GENERIC_USERS = frozenset(
    {
        "runner",
        "runneradmin",
        "user",
        "users",
        "ubuntu",
        "root",
        "admin",
        "administrator",
        "vscode",
        "jovyan",
        "jenkins",
        "circleci",
        "travis",
        "vsts",
        "gitpod",
        "codespace",
        "builder",
        "build",
        "ci",
        "shared",
        "public",
        "default",
        "all",
        "username",
        "name",
        "yourname",
        "you",
        "me",
        "xxx",
    }
)
_NOT_A_SECRET = re.compile(
    r"\[REDACTED|[<${%*./~]|0x[0-9a-f]|\W*(?:(?:none|null|nil|true|false|undefined|str|string|bytes|optional|changeme|password|secret"
    r"|token|example|dummy|test)(?![A-Za-z0-9])|(?:your|my)[_-]|x{3}|os\.|env[.\[(]|process\.|getenv|settings\.|config\.|self\."
    r"|args\.|request\.|input\()",
    re.IGNORECASE,
)
"""Values that stand for a secret but are none: variables, placeholders, calls."""


def _looks_random(value: str) -> bool:
    """A digit and a letter, and no run of plain words: what keys look like and identifiers of code mostly do not."""
    return any(char.isdigit() for char in value) and any(char.isalpha() for char in value)


def _is_key(match: re.Match[str]) -> bool:
    return _looks_random(match["value"])


def _is_password(match: re.Match[str]) -> bool:
    value = match["value"]
    return not _NOT_A_SECRET.match(value) and not value.endswith("(")


def _is_token(match: re.Match[str]) -> bool:
    value = match["value"]
    return len(value) >= 12 and _is_password(match) and _looks_random(value)


def _is_new(match: re.Match[str]) -> bool:
    return not match["value"].startswith("[REDACTED")


def _is_personal(match: re.Match[str]) -> bool:
    return match["value"].lower() not in _GENERIC_USERS


def _is_email(match: re.Match[str]) -> bool:
    return match["value"].partition("@")[0].lower() not in {"git", "hg", "svn"}


def _is_public_address(match: re.Match[str]) -> bool:
    try:
        return ipaddress.ip_address(match["value"]).is_global
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """One kind of secret.

    needles: lower-case strings of which a text must contain one for the pattern to be tried at all (what makes
    redaction
        cheap: most texts contain none). pattern: its group `value` is replaced, or all of it where there is no such
        group.
    accept: a last look at a match; None accepts all.
    """

    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    accept: Callable[[re.Match[str]], bool] | None = None


def _rule(
    kind: str, needles: str, pattern: str, accept: Callable[[re.Match[str]], bool] | None = None
) -> RedactionRule:
    return RedactionRule(kind, tuple(needles.split()), re.compile(pattern), accept)


_EDGE = r"(?<![A-Za-z0-9])"
_ASSIGN = r"[\"']?[ \t]{0,4}(?::=|=>|[:=])[ \t]{0,4}[\"']?"

RULES: tuple[RedactionRule, ...] = (
    _rule("github-token", "gho_ ghp_ ghr_ ghs_ ghu_", _EDGE + r"gh[oprsu]_[A-Za-z0-9_]{20,}"),
    _rule("github-token", "github_pat_", _EDGE + r"github_pat_[A-Za-z0-9_]{20,}"),
    _rule("gitlab-token", "glpat- gldt- glrt- glptt-", _EDGE + r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{16,}"),
    _rule("aws-key", "akia asia abia acca", _EDGE + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _rule("anthropic-key", "sk-ant-", _EDGE + r"sk-ant-[A-Za-z0-9_-]{16,}"),
    _rule("openai-key", "sk-", _EDGE + r"(?P<value>sk-[A-Za-z0-9_-]{20,})", _is_key),
    _rule("stripe-key", "_live_ _test_", _EDGE + r"(?:[sr]k|pk)_(?:live|test)_[A-Za-z0-9]{16,}"),
    _rule(
        "slack-token",
        "xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-",
        _EDGE + r"(?:xox[a-eoprs]|xapp)-[A-Za-z0-9-]{10,}",
    ),
    _rule("webhook", "hooks.slack.com/", r"(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[A-Za-z0-9_/-]{16,}"),
    _rule("webhook", "/api/webhooks/", r"(?<=/api/webhooks/)[0-9]{10,25}/[A-Za-z0-9_-]{30,}"),
    _rule("google-key", "aiza", _EDGE + r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    _rule("google-token", "ya29.", _EDGE + r"ya29\.[A-Za-z0-9_-]{20,}"),
    _rule("google-secret", "gocspx-", _EDGE + r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    _rule("huggingface-token", "hf_", _EDGE + r"(?P<value>hf_[A-Za-z0-9]{30,})"),
    _rule("npm-token", "npm_", _EDGE + r"npm_[A-Za-z0-9]{30,}"),
    _rule("pypi-token", "pypi-", _EDGE + r"pypi-[A-Za-z0-9_-]{50,}"),
    _rule("docker-token", "dckr_pat_", _EDGE + r"dckr_pat_[A-Za-z0-9_-]{20,}"),
    _rule("databricks-token", "dapi", _EDGE + r"dapi[0-9a-f]{32}(?![0-9a-f])"),
    _rule("digitalocean-token", "dop_v1_ doo_v1_", _EDGE + r"do[op]_v1_[0-9a-f]{32,}"),
    _rule("sendgrid-key", "sg.", _EDGE + r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}"),
    _rule("vault-token", "hvs.", _EDGE + r"hvs\.[A-Za-z0-9_-]{20,}"),
    _rule(
        "api-token",
        "gsk_ r8_ xai- glsa_ glc_ sntrys_ sntryu_ lin_api_ shpat_ shpss_ figd_ atatt3x tskey- nfp_ sbp_ pat-na1- ntn_",
        _EDGE + r"(?:gsk_|r8_|xai-|glsa_|glc_|sntry[su]_|lin_api_|shp(?:at|ss)_|figd_|ATATT3x|tskey-|nfp_|sbp_|pat-na1-"
        r"|ntn_)(?P<value>[A-Za-z0-9_=-]{24,})",
        _is_key,
    ),
    _rule("jwt", "eyj", r"(?<![A-Za-z0-9_.-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    _rule("url-credentials", "://", r"(?<=://)(?P<value>[^\s/@:\"'<>]{0,256}:[^\s/@\"'<>]{1,512})@", _is_new),
    _rule("url-credentials", "://", r"(?<=://)(?P<value>[A-Za-z0-9_-]{16,512})@"),
    _rule(
        "authorization",
        "authorization",
        r"(?i)authorization" + _ASSIGN + r"(?:bearer|basic|token|apikey|digest|negotiate)[ \t]{1,4}"
        r"(?P<value>[^\s\"',;\[\]]{6,})",
    ),
    _rule(
        "authorization", "authorization", r"(?i)authorization" + _ASSIGN + r"(?P<value>[^\s\"',;\[\]]{16,})", _is_token
    ),
    _rule("authorization", "bearer", r"(?i)\bbearer[ \t]{1,4}(?P<value>[A-Za-z0-9._~+/=-]{16,})", _is_key),
    _rule(
        "password",
        "passw pwd passphrase",
        r"(?i)(?:password|passwd|passphrase|pwd)" + _ASSIGN + r"(?P<value>[^\s\"'`,;&)<>\]}]{4,})",
        _is_password,
    ),
    _rule(
        "password",
        "--passw --pwd",
        r"(?i)--(?:password|passwd|pwd)[ \t]{1,4}[\"']?(?P<value>[^\s\"'`,;&)<>\]}]{4,})",
        _is_password,
    ),
    _rule(
        "secret",
        "secret key token signature credential sig=",
        r"(?i)(?:secret|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|subscription[_-]?key|access[_-]?key[_-]?id"
        r"|token|credentials?|signature|[?&]sig)" + _ASSIGN + r"(?P<value>[^\s\"'`,;&()<>\[\]{}]{8,})",
        _is_token,
    ),
    _rule(
        "secret",
        "--token --api-key --secret",
        r"(?i)--(?:token|api-key|secret)[ \t]{1,4}[\"']?(?P<value>[^\s\"'`,;&()<>\[\]{}]{12,})",
        _is_token,
    ),
    _rule(
        "email",
        "@",
        r"(?<![\w.+-])(?P<value>[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}\.[A-Za-z]{2,24})"
        r"(?![\w(-]|\.\w)",
        _is_email,
    ),
    _rule(
        "ip-address", ".", r"(?:(?<=//)|(?<=@))(?P<value>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![\w.])", _is_public_address
    ),
    _rule(
        "ip-address",
        ".",
        r"(?<![\w.=/@-])(?P<value>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?=:[0-9]{2,5}(?![0-9]))",
        _is_public_address,
    ),
    _rule(
        "ip-address",
        "ip addr ping host peer remote",
        r"(?i)\b(?:ips?|ipv4|(?:ip[ _-]?)?addr(?:ess)?|ping|host|hostname|peer|remote)(?: is| was|[ \t]{0,2}[:=])?"
        r"[ \t\"'(]{1,3}(?P<value>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?!\.?\w)",
        _is_public_address,
    ),
    _rule(
        "ip-address",
        ":",
        r"(?<![\w:.])(?P<value>[23][0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w:])",
        _is_public_address,
    ),
    _rule("user", "/home/ /users/", r"(?:/home|/Users)/(?P<value>[A-Za-z0-9_.-]{1,64})", _is_personal),
    _rule("user", "\\users\\", r"(?i)[\\/]Users[\\/]{1,2}(?P<value>[A-Za-z0-9_.-]{1,64})", _is_personal),
)
"""In this order: what is certain (a vendor's prefix) before what is guessed from the words around it."""

_PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"(?:\s*[A-Za-z0-9+/=\\]{16,})*")
_PEM_LONGEST = 20_000
"""A key of 16,384 bits has 13,000 characters; an END further away belongs to something else."""


def _redact_private_keys(text: str) -> tuple[str, int]:
    """PEM blocks by hand: a pattern from BEGIN to END would try every BEGIN against the whole rest of the text."""
    if "PRIVATE KEY" not in text:
        return text, 0
    ends = [match.end() for match in _PEM_END.finditer(text)]
    parts: list[str] = []
    position = count = next_end = 0
    for begin in _PEM_BEGIN.finditer(text):
        if begin.start() < position:
            continue
        while next_end < len(ends) and ends[next_end] <= begin.end():
            next_end += 1
        if next_end < len(ends) and ends[next_end] - begin.end() <= _PEM_LONGEST:
            end = ends[next_end]
        else:
            unclosed = _PEM_BODY.match(text, begin.end())
            end = unclosed.end() if unclosed else begin.end()
        parts += [text[position : begin.start()], _PLACEHOLDER.format("private-key")]
        position, count = end, count + 1
    return "".join([*parts, text[position:]]), count


def _apply(rule: RedactionRule, text: str) -> tuple[str, int]:
    placeholder = _PLACEHOLDER.format(rule.kind)
    group = "value" if "value" in rule.pattern.groupindex else 0
    parts: list[str] = []
    position = count = 0
    for match in rule.pattern.finditer(text):
        if rule.accept is not None and not rule.accept(match):
            continue
        parts += [text[position : match.start(group)], placeholder]
        position, count = match.end(group), count + 1
    return ("".join([*parts, text[position:]]), count) if count else (text, 0)


def redact(text: str) -> tuple[str, int]:
    """`text` with typed placeholders for secrets, e-mail and public IP addresses and user names in home paths.

    Gives the text and how many were replaced. Redacting the result again changes nothing.
    """
    text, total = _redact_private_keys(text)
    lowered = text.lower()
    for rule in RULES:
        if any(needle in lowered for needle in rule.needles):
            text, count = _apply(rule, text)
            total += count
    return text, total
