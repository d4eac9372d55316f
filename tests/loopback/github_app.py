"""A GitHub App of the loopback GitHub: its installations, the JWTs it shows, the tokens it gets for them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tests.loopback.github_http import Answer, Request, said
from tests.loopback.github_world import Repo, render, timestamp

TOKEN_SECONDS = 3600
_LONGEST_JWT_SECONDS = 600
_UNREADABLE = "A JSON web token could not be decoded"


@dataclass(frozen=True, slots=True)
class AppToken:
    """An installation's token, valid until `expires_at` by the server's clock."""

    token: str
    installation: int
    expires_at: int
    repositories: frozenset[str] | None


@dataclass(slots=True)
class Installation:
    """Where an App is installed. repositories: names in lower case, None for all of them."""

    id: int
    account: str
    repositories: frozenset[str] | None
    suspended: bool = False


@dataclass(slots=True)
class App:
    """An App. public_key: PEM, of the key that it signs with. tokens: those given out, expired ones too."""

    id: int
    public_key: str
    permissions: dict[str, str] = field(default_factory=lambda: {"issues": "read", "metadata": "read"})
    installations: dict[int, Installation] = field(default_factory=dict)
    tokens: dict[str, AppToken] = field(default_factory=dict)

    def install(self, *names: str, account: str = "acme") -> int:
        """Installs it on repositories, or on all there are; gives the installation's id."""
        identity = 70_000 + len(self.installations)
        reached = frozenset(name.lower() for name in names) if names else None
        self.installations[identity] = Installation(identity, account, reached)
        return identity

    def mint(self, installation: Installation, now: float) -> AppToken:
        """A new token; those before it stay valid."""
        name = f"ghs_{installation.id}x{len(self.tokens)}"
        made = AppToken(name, installation.id, int(now) + TOKEN_SECONDS, installation.repositories)
        self.tokens[name] = made
        return made


@lru_cache(maxsize=1)
def make_keys() -> tuple[str, str]:
    """A private and its public RSA key as PEM, the same pair for the whole process: making one takes a while."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def is_app_path(path: str) -> bool:
    """Whether a path is asked for with a JWT instead of a token."""
    parts = path.strip("/").split("/")
    return parts[0] == "app" or (parts[0] in {"repos", "repositories"} and parts[-1] == "installation")


def app_answer(app: App | None, request: Request, now: float, repo: Callable[[], Repo | None]) -> Answer:
    """What an App's own requests are answered. repo: finds the repository of the request's path.

    The rules for a JWT are those of GitHub's documentation: RS256, `iss` is the App's id, `exp` at most ten minutes
    ahead, `iat` not in the future.
    """
    if app is None:
        return said(401, _UNREADABLE)
    problem = _jwt_problem(app, request.token, now)
    if problem is not None:
        return said(401, problem)
    parts = request.path.strip("/").split("/")
    if parts[0] != "app":
        return _installation_of(app, repo())
    if request.method == "POST" and parts[1:2] == ["installations"] and parts[3:] == ["access_tokens"]:
        return _new_token(app, request, parts[2], now)
    if request.method == "GET" and parts == ["app"]:
        return Answer(200, render({"id": app.id, "slug": "loopback", "permissions": app.permissions}))
    if request.method == "GET" and parts == ["app", "installations"]:
        return Answer(200, render([_shown(app, installation) for installation in app.installations.values()]))
    if request.method == "GET" and parts[1:2] == ["installations"] and len(parts) == 3:
        one = app.installations.get(int(parts[2]) if parts[2].isdecimal() else 0)
        return said(404, "Not Found") if one is None else Answer(200, render(_shown(app, one)))
    return said(404, "Not Found")


def _jwt_problem(app: App, token: str, now: float) -> str | None:
    import jwt

    try:
        # The signature alone: the library would check times by the machine's clock, and this server has its own.
        claims: Any = json.loads(jwt.PyJWS().decode(token, app.public_key, algorithms=["RS256"]))
    except (jwt.InvalidTokenError, ValueError):
        return _UNREADABLE
    if not isinstance(claims, dict):
        return _UNREADABLE
    issued, expires = claims.get("iat"), claims.get("exp")
    if str(claims.get("iss")) != str(app.id):
        return "'Issuer' claim ('iss') must be an Integer"
    if not isinstance(issued, int | float) or issued > now:
        return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
    if not isinstance(expires, int | float) or expires <= now:
        return (
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the "
            "assertion expires"
        )
    return "'Expiration time' claim ('exp') is too far in the future" if expires - now > _LONGEST_JWT_SECONDS else None


def _installation_of(app: App, repo: Repo | None) -> Answer:
    for installation in app.installations.values():
        reached = installation.repositories
        if repo is not None and (reached is None or repo.full_name.lower() in reached):
            return Answer(200, render(_shown(app, installation)))
    return said(404, "Not Found")


def _new_token(app: App, request: Request, identity: str, now: float) -> Answer:
    installation = app.installations.get(int(identity) if identity.isdecimal() else 0)
    if installation is None:
        return said(404, "Not Found")
    if installation.suspended:
        return said(403, "This installation has been suspended")
    try:
        json.loads(request.body or b"{}")
    except ValueError:
        return said(400, "Problems parsing JSON")
    made = app.mint(installation, now)
    shown = {
        "token": made.token,
        "expires_at": timestamp(made.expires_at),
        "permissions": app.permissions,
        "repository_selection": "all" if installation.repositories is None else "selected",
    }
    return Answer(201, render(shown))


def _shown(app: App, installation: Installation) -> dict[str, Any]:
    return {
        "id": installation.id,
        "app_id": app.id,
        "account": {"login": installation.account, "type": "Organization"},
        "repository_selection": "all" if installation.repositories is None else "selected",
        "permissions": app.permissions,
        "events": [],
        "suspended_at": timestamp(0) if installation.suspended else None,
    }
