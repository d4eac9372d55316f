"""The error tree, by what the run does next.

```
IssuetideError
├── StopError                the run ends here; what is stored stays, the next run goes on
│   ├── ConfigurationError   a setting, key, file or schema is wrong: a person must act           exit 3
│   │   └── ModelGoneError   the vendor has no such model, or no longer                           exit 3
│   ├── BudgetError          a cap on dollars, items or calls to GitHub was reached               exit 5
│   ├── RateLimitError       the wait that a service asks for does not fit the run's deadline     exit 6
│   ├── LockedError          another run works on the same scope                                  exit 7
│   └── UnavailableError     a server did not answer, or kept failing, within the retries         exit 8
└── SkipError                this one item cannot be used; the others go on
```

A run that did all it could but had to leave something behind (a dead letter, a skipped line) ends as *partial*, exit 4.
`verify` ends with 9 where GitHub, PostgreSQL and OpenSearch differ, `dashboards check` where a panel is empty.
`status --max-age` ends with 10 where something was last read longer ago.
Every message says what was tried, on what, and the way out. None carries a secret or a whole text.
"""


class IssuetideError(Exception):
    """Any error this product raises on purpose."""

    exit_code = 1


class StopError(IssuetideError):
    """The run ends here; everything stored so far stays and the next run goes on from it."""


class ConfigurationError(StopError):
    """A setting, credential, file or schema is wrong; repeating the run changes nothing until a person acts."""

    exit_code = 3


class ModelGoneError(ConfigurationError):
    """The vendor has no such model, or no longer; the message names the one to use instead where that is known."""


class BudgetError(StopError):
    """A cap on dollars, items or calls to GitHub was reached; what was not asked or read waits for the next run."""

    exit_code = 5


class RateLimitError(StopError):
    """A service asks for a wait that does not fit into the run's deadline."""

    exit_code = 6


class LockedError(StopError):
    """Another run works on the same scope right now."""

    exit_code = 7


class UnavailableError(StopError):
    """A server did not answer, or kept failing, within the allowed retries."""

    exit_code = 8


class SkipError(IssuetideError):
    """One item cannot be used; the message names it and the others go on."""


def install_words(extra: str) -> str:
    """How to install an extra of pyproject.toml. From the checkout: no package index has Issuetide.

    A package of that name there would be somebody else's.
    """
    return f"pip install '/path/to/the/checkout[{extra}]'"


EXIT_OK = 0
EXIT_FAILED = 1
EXIT_PARTIAL = 4
EXIT_DIFFERENT = 9
EXIT_STALE = 10
