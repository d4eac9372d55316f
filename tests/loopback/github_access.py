"""Who may ask the loopback GitHub, and how much: tokens, what they reach, primary and secondary limits."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tests.loopback.github_app import App

SecondaryForm = Literal["retry-after", "limited-by", "text"]
HOUR = 3600.0


class Clock:
    """The server's clock; `read` gives seconds since 1970, the machine's unless a test stands still."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self._offset = 0.0

    def now(self) -> float:
        """The time, with all that was added to it."""
        return self._read() + self._offset

    def advance(self, seconds: float) -> None:
        """Adds to it."""
        self._offset += seconds


@dataclass(slots=True)
class Window:
    """A primary limit: calls in an hour, those left, when they come back, and the status that says they are spent."""

    limit: int = 5000
    remaining: int = 5000
    reset_at: float = 0.0
    status: int = 403

    def renew(self, now: float) -> None:
        """Begins the next hour if this one is over."""
        if now >= self.reset_at:
            self.reset_at, self.remaining = now + HOUR, self.limit


@dataclass(frozen=True, slots=True)
class Secondary:
    """A secondary limit until a time, and how it is said: in Retry-After, in `gh-limited-by`, or in the text alone."""

    until: float
    form: SecondaryForm
    status: int


class Access:
    """The tokens of a GitHub. '' stands for requests without one, which share a window by address.

    tokens: the valid ones; None takes any, but for revoked ones and those of an App.
    token_scopes: the names of the repositories that a token reaches; all of them where it is not in here.
    out_of_scope_status: 404, or 403 with the words that say what the token lacks.
    windows: of each token that has one of its own; the others share one, that of `limit` and `remaining`.
    """

    def __init__(self, clock: Clock, tokens: Iterable[str] | None) -> None:
        self.clock = clock
        self.tokens = None if tokens is None else set(tokens)
        self.revoked: set[str] = set()
        self.token_scopes: dict[str, set[str]] = {}
        self.out_of_scope_status: Literal[403, 404] = 404
        self.windows: dict[str, Window] = {}
        self.shared_window = Window()
        self.secondary: dict[str, Secondary] = {}
        self.app: App | None = None

    @property
    def limit(self) -> int:
        """Calls in an hour, for tokens without a window of their own."""
        return self.shared_window.limit

    @limit.setter
    def limit(self, calls: int) -> None:
        self.shared_window.limit = calls

    @property
    def remaining(self) -> int:
        """Calls that are left of them."""
        return self.shared_window.remaining

    @remaining.setter
    def remaining(self, calls: int) -> None:
        self.shared_window.remaining = calls

    @property
    def reset_at(self) -> float:
        """When they come back."""
        return self.shared_window.reset_at

    @reset_at.setter
    def reset_at(self, at: float) -> None:
        self.shared_window.reset_at = at

    @property
    def limit_status(self) -> int:
        """403 or 429."""
        return self.shared_window.status

    @limit_status.setter
    def limit_status(self, status: int) -> None:
        self.shared_window.status = status

    def set_window(
        self, token: str, *, limit: int = 5000, remaining: int | None = None, reset_in: float = HOUR, status: int = 403
    ) -> Window:
        """Gives a token ('' for none) a window of its own; all calls of it are left unless `remaining` says less."""
        left = limit if remaining is None else remaining
        window = self.windows[token] = Window(limit, left, self.clock.now() + reset_in, status)
        return window

    def window_of(self, token: str) -> Window:
        """The window that a token's calls are taken from, as it is now. Those of an App have one each."""
        if self.app is not None and token in self.app.tokens and token not in self.windows:
            self.set_window(token)
        window = self.windows.get(token, self.shared_window)
        window.renew(self.clock.now())
        return window

    def spend(self, token: str) -> bool:
        """Takes one call; False when the window has none left."""
        window = self.window_of(token)
        if window.remaining <= 0:
            return False
        window.remaining -= 1
        return True

    def spend_all(self, reset_in: float, status: int = 403, *, token: str | None = None) -> None:
        """The window of a token, or the shared one, is spent until `reset_in` seconds from now."""
        window = self.shared_window if token is None else self.windows.get(token, self.shared_window)
        window.remaining, window.reset_at, window.status = 0, self.clock.now() + reset_in, status

    def limit_secondary(
        self, token: str, seconds: float = 60.0, form: SecondaryForm = "text", status: int = 403
    ) -> None:
        """Refuses all requests of a token for so long, whatever is left of its window."""
        self.secondary[token] = Secondary(self.clock.now() + seconds, form, status)

    def revoke_token(self, token: str) -> None:
        """From now on it is answered 401."""
        self.revoked.add(token)

    def add_app(self, app_id: int, public_key: str) -> App:
        """A GitHub App; its installation tokens are valid beside `tokens`. public_key: PEM."""
        self.app = App(app_id, public_key)
        return self.app

    def allows(self, token: str) -> bool:
        """Whether a token is good; none at all is."""
        if not token:
            return True
        if token in self.revoked:
            return False
        if self.app is not None and token in self.app.tokens:
            return self.clock.now() < self.app.tokens[token].expires_at
        # What is left is a personal token, unlike an unknown App's and the JWT that only an App's own requests take.
        is_personal = not token.startswith("ghs_") and token.count(".") < 2
        return is_personal if self.tokens is None else token in self.tokens
