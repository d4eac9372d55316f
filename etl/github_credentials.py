"""Who asks GitHub: tokens and the installations of a GitHub App, each with a window of its own. Imports PyJWT, alone.

What is believed here of GitHub (docs.github.com, "Authenticating as a GitHub App"): an App proves itself by a JWT that
it signs with RS256 and that lives ten minutes at the most by GitHub's clock; with it it gets a token per installation,
which lives an hour. Limits count per user, and per installation, whatever its token is at the moment. Nothing here
sends anything; `etl.github` does.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from etl.errors import ConfigurationError, install_words

_JWT_PAST_SECONDS = 60.0
"""How far in the past a JWT claims to be made: GitHub refuses one from its future."""
_JWT_SECONDS = 540.0
_JWT_MARGIN_SECONDS = 60.0
_TOKEN_MARGIN_SECONDS = 300.0
"""An installation's token is renewed so long before it expires, so that none expires under way."""


@dataclass(frozen=True, slots=True)
class App:
    """A GitHub App. app_id: its id or client id. private_key: PEM text. installation_id: None, found when needed."""

    app_id: str
    private_key: str = field(repr=False)
    installation_id: int | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one may ask GitHub with: any number of tokens, an App, both, or nothing (then it is asked anonymously)."""

    tokens: tuple[str, ...] = field(default=(), repr=False)
    app: App | None = None


def read_tokens(text: str | None) -> tuple[str, ...]:
    """The tokens of GITHUB_TOKEN, comma separated, each once.

    Raises:
        ConfigurationError: one cannot be a token; the message does not show it.
    """
    tokens = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    for token in tokens:
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigurationError("GITHUB_TOKEN holds spaces or unprintable characters: copy it again")
    return tokens


def read_app(
    app_id: str | None, private_key: str | None, private_key_file: Path | None, installation_id: int | None
) -> App | None:
    """The App of the settings; None where none is set. A key may have its line ends written as a backslash and an n.

    Raises:
        ConfigurationError: the key cannot be read or is none, or one setting is there without the others.
    """
    if app_id is None:
        if private_key is None and private_key_file is None and installation_id is None:
            return None
        raise ConfigurationError("a GitHub App needs GITHUB_APP_ID as well: the number on the App's settings page")
    if private_key is not None and private_key_file is not None:
        raise ConfigurationError("GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_FILE are both set: keep one")
    name = "GITHUB_APP_PRIVATE_KEY"
    if private_key_file is not None:
        name = f"GITHUB_APP_PRIVATE_KEY_FILE ({private_key_file})"
        try:
            private_key = private_key_file.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigurationError(f"{name} cannot be read: {reason}") from None
    if private_key is None:
        raise ConfigurationError(
            "GITHUB_APP_ID is set, but no key: set GITHUB_APP_PRIVATE_KEY_FILE or GITHUB_APP_PRIVATE_KEY"
        )
    pem = private_key.replace("\\r", "").replace("\\n", "\n").replace("\r", "").strip() + "\n"
    if not (pem.startswith("-----BEGIN ") and "PRIVATE KEY-----" in pem):
        raise ConfigurationError(f"{name} holds no private key: it begins with -----BEGIN RSA PRIVATE KEY-----")
    return App(app_id, pem, installation_id)


@dataclass(slots=True)
class Window:
    """What is known of one credential's limits; times are those of the client's clock.

    remaining, limit, resets_at: of the primary limit, None while unknown. closed_until: nothing is sent before.
    refusals: how often in a row a limit was met, which the next wait grows by.
    """

    remaining: int | None = None
    limit: int | None = None
    resets_at: float = -math.inf
    closed_until: float = -math.inf
    refusals: int = 0

    def learn(self, remaining: int, limit: int | None, resets_at: float | None) -> None:
        """Takes over what the headers of an answer said. A spent window is closed before it is asked in vain."""
        self.remaining = remaining
        self.limit = limit if limit is not None else self.limit
        if resets_at is not None:
            self.resets_at = resets_at
            if remaining == 0:
                self.closed_until = max(self.closed_until, resets_at)

    def budget(self, now: float) -> float:
        """Calls left, infinite where that is not known (any more)."""
        return math.inf if self.remaining is None or now >= self.resets_at else self.remaining

    def opens_in(self, now: float) -> float:
        """Seconds until it may be used."""
        return max(self.closed_until - now, 0.0)


@dataclass(slots=True, eq=False, repr=False)
class Credential:
    """One token, one installation, the App itself, or nobody.

    place: its name in messages, never its text. identity: tells it from others in a stored cursor, '' for nobody.
    token: what is sent, of an App what was last made. renew_at: when that is made anew, on GitHub's clock in seconds
    since 1970. installation: its id. renewed: a 401 led to a new token since the last answer. dropped: why it is not
    used any more, '' while it is.
    """

    place: str
    identity: str
    token: str | None = None
    renew_at: float = math.inf
    installation: int | None = None
    window: Window = field(default_factory=Window)
    renewed: bool = False
    dropped: str = ""

    @property
    def is_renewable(self) -> bool:
        """Whether its token can be made anew."""
        return self.renew_at < math.inf

    def keep_token(self, token: str, expires_at: float) -> None:
        """From now on `token` is sent, until five minutes before it expires."""
        self.token, self.renew_at = token, expires_at - _TOKEN_MARGIN_SECONDS

    def forget_token(self) -> None:
        """The next use makes a new one."""
        self.token, self.renew_at = None, -math.inf


def _identity_of(text: str) -> str:
    return blake2b(text.encode(), digest_size=6, person=b"issuetide").hexdigest()


class CredentialPool:
    """The credentials of one client, and what they were seen to reach.

    A scope is a repository as an address names it: 'repos/owner/name' or 'repositories/1'; None for other addresses.
    """

    def __init__(self, credentials: Credentials) -> None:
        count = len(credentials.tokens)
        self.tokens = [
            Credential("GITHUB_TOKEN" if count == 1 else f"token {place} of {count}", _identity_of(token), token)
            for place, token in enumerate(credentials.tokens, 1)
        ]
        self.installations = Installations(credentials.app) if credentials.app is not None else None
        if not self.tokens and self.installations is None:
            self.tokens = [Credential("no token", "")]
        self._seeing: set[tuple[str, str]] = set()
        self._blind: set[tuple[str, str]] = set()
        self._same: dict[str, str] = {}

    @property
    def words(self) -> str:
        """What the user set, for messages; '' where nothing is."""
        names = []
        if self.tokens and self.tokens[0].identity:
            names.append("GITHUB_TOKEN" if len(self.tokens) == 1 else "a token of GITHUB_TOKEN")
        if self.installations is not None:
            names.append("the GitHub App")
        return " or ".join(names)

    def all_known(self) -> list[Credential]:
        """Every token, and the installations met so far."""
        return self.tokens + (list(self.installations.known.values()) if self.installations else [])

    def note_same(self, scope: str | None, other: str | None) -> None:
        """`other` is another address of the repository `scope`."""
        if scope is not None and other is not None and scope != other:
            self._same.setdefault(other, self.canonical(scope))

    def canonical(self, scope: str) -> str:
        """The scope that stands for all addresses of a repository."""
        return self._same.get(scope, scope)

    def note_answer(self, credential: Credential, refused: Iterable[Credential], scope: str | None) -> None:
        """`credential` was given what was refused to others: these do not see the repository, unless they once did."""
        if scope is None:
            return
        scope = self.canonical(scope)
        self._seeing.add((credential.identity, scope))
        self._blind.discard((credential.identity, scope))
        self._blind.update((other.identity, scope) for other in refused if not self.sees(other, scope))

    def sees(self, credential: Credential, scope: str | None) -> bool:
        """Whether it has read something of the repository in this run."""
        return scope is not None and (credential.identity, self.canonical(scope)) in self._seeing

    def is_blind(self, credential: Credential, scope: str | None) -> bool:
        """Whether it was refused what another one could read in the repository."""
        return scope is not None and (credential.identity, self.canonical(scope)) in self._blind

    def choose(
        self,
        askers: Sequence[Credential],
        refused: Mapping[Credential, object],
        scope: str | None,
        preferred: str | None,
        now: float,
    ) -> Credential | None:
        """Who of `askers` asks next: the one with the identity `preferred`, else the one with most calls left.

        Where every window is closed it is the one that opens first. None: all have been refused, or one who sees the
        repository was and the others' windows are closed. Who was refused what another one could read in the repository
        is not asked there while others are left: to be refused again would tell nothing.
        """
        waiting = [credential for credential in askers if not credential.dropped and credential not in refused]
        seeing = [credential for credential in waiting if not self.is_blind(credential, scope)]
        waiting = seeing if refused else seeing or waiting
        opened = [credential for credential in waiting if not credential.window.opens_in(now)]
        if not opened:
            is_known = any(self.sees(credential, scope) for credential in refused)
            if is_known or not waiting:
                return None
            return min(waiting, key=lambda credential: credential.window.opens_in(now))
        of_etag = [credential for credential in opened if credential.identity == preferred]
        return max(of_etag or opened, key=lambda credential: credential.window.budget(now))


AskAsApp = Callable[[str, str], Any]
"""GETs an address (with words for messages) as the App itself; gives the JSON, None for a 404."""


class Installations:
    """Where a GitHub App is installed, learnt when a repository is asked for."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.itself = Credential("the GitHub App", "", renew_at=-math.inf)
        self.known: dict[int, Credential] = {}
        self._of_owner: dict[str, Credential] = {}
        self._elsewhere: set[str] = set()
        self._listed: list[Credential] | None = None
        if app.installation_id is not None:
            self._enter(app.installation_id)

    def sign(self, now: float) -> str:
        """The JWT of the App, made anew when it is due. now: GitHub's clock, seconds since 1970.

        Raises:
            ConfigurationError: PyJWT is missing, or the key cannot sign.
        """
        itself = self.itself
        if itself.token is None or now >= itself.renew_at:
            itself.token = _signed(self._app, now)
            itself.renew_at = now + _JWT_SECONDS - _JWT_MARGIN_SECONDS
        return itself.token

    def reaching(self, scope: str | None, ask: AskAsApp) -> list[Credential]:
        """The installations that may read a repository: its owner's, else one that can read what is public.

        For an address that names no owner, all that were met so far.

        Raises:
            ConfigurationError: the App is refused, or installed nowhere.
        """
        if self._app.installation_id is not None:
            return list(self.known.values())
        kind, _, name = (scope or "").partition("/")
        if kind != "repos":
            return list(self.known.values()) or self.listed(ask)[:1]
        owner = name.partition("/")[0]
        if owner not in self._of_owner and name not in self._elsewhere:
            body = ask(f"/repos/{name}/installation", f"the installation of the GitHub App for {name}")
            if body is None:
                self._elsewhere.add(name)
            else:
                self._of_owner[owner] = self._enter(_id_of(body))
        found = self._of_owner.get(owner)
        return [found] if found is not None else list(self.known.values())[:1] or self.listed(ask)[:1]

    def listed(self, ask: AskAsApp) -> list[Credential]:
        """The first hundred installations of the App that are not suspended; the one of the settings where one is set.

        Raises:
            ConfigurationError: there is none.
        """
        if self._app.installation_id is not None:
            return list(self.known.values())
        if self._listed is None:
            body = ask("/app/installations?per_page=100", "the installations of the GitHub App")
            rows = [row for row in body if not row.get("suspended_at")] if isinstance(body, list) else []
            if not rows:
                raise ConfigurationError(
                    "the GitHub App is installed nowhere: install it on the account whose repositories are to be read"
                )
            self._listed = [self._enter(_id_of(row)) for row in rows]
        return self._listed

    def _enter(self, identity: int) -> Credential:
        place = f"installation {identity} of the GitHub App"
        made = Credential(
            place,
            _identity_of(f"app {self._app.app_id} installation {identity}"),
            renew_at=-math.inf,
            installation=identity,
        )
        return self.known.setdefault(identity, made)


def _id_of(body: Any) -> int:  # noqa: ANN401  (whatever the server gave)
    identity = body.get("id") if isinstance(body, Mapping) else None
    if type(identity) is not int:
        raise ConfigurationError("GITHUB_API_URL does not answer like GitHub about the GitHub App: check it")
    return identity


def _signed(app: App, now: float) -> str:
    try:
        import jwt
    except ModuleNotFoundError:
        raise ConfigurationError(f"a GitHub App needs the package PyJWT to sign with: {install_words('app')}") from None
    claims = {"iat": int(now - _JWT_PAST_SECONDS), "exp": int(now + _JWT_SECONDS), "iss": app.app_id}
    try:
        return jwt.encode(claims, app.private_key, algorithm="RS256")
    except NotImplementedError:
        raise ConfigurationError(
            f"a GitHub App needs the package cryptography to sign with: {install_words('app')}"
        ) from None
    except (ValueError, TypeError, jwt.PyJWTError):
        # The library's text may quote the key.
        raise ConfigurationError(
            "the key of the GitHub App cannot sign: GITHUB_APP_PRIVATE_KEY must be the RSA key that GitHub made for the"
            " App, without a passphrase"
        ) from None


def dropped_words(credentials: Sequence[Credential]) -> str:
    """Why credentials are not used any more, each once."""
    return "; ".join(dict.fromkeys(credential.dropped for credential in credentials if credential.dropped))
