"""What may go wrong between a client and the loopback GitHub."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tests.loopback.github_answers import answered, secondary_refusal
from tests.loopback.github_http import Answer, Request, said

if TYPE_CHECKING:
    from tests.loopback.github import LoopbackGitHub

FaultKind = Literal[
    "status",
    "primary",
    "secondary",
    "hang",
    "slow",
    "close",
    "truncated",
    "broken",
    "html",
    "bytes",
    "redirect",
    "link",
]


@dataclass(slots=True)
class Fault:
    """Something to go wrong with the next requests whose target contains `on`; see `LoopbackGitHub.fail_next`."""

    kind: FaultKind
    on: str
    times: int
    skip: int
    token: str | None
    options: dict[str, Any]

    def strikes(self, request: Request) -> bool:
        """Whether it is this request's turn; counts it."""
        if self.times <= 0 or self.on not in request.target or self.token not in {None, request.token}:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


def faulty(github: "LoopbackGitHub", request: Request, fault: Fault) -> Answer | None:
    """The answer that a fault makes; None for a connection that is closed without one."""
    options = fault.options
    if fault.kind in {"hang", "slow", "close"}:
        github.stopping.wait(options.get("seconds", 30.0) if fault.kind != "close" else 0)
        return answered(github, request) if fault.kind == "slow" else None
    if fault.kind in {"truncated", "broken", "link"}:
        return _spoilt(answered(github, request), fault)
    if fault.kind == "primary":
        github.spend_all(options.get("seconds", 60.0), options.get("status", 403), token=request.token)
        return answered(github, request)
    if fault.kind == "secondary":
        return secondary_refusal(
            options.get("status", 403), options.get("retry_after"), limited_by=options.get("limited_by", False)
        )
    if fault.kind == "html":
        return Answer(200, b"<html><body>Unicorn!</body></html>", {"Content-Type": "text/html"})
    if fault.kind == "bytes":
        return Answer(200, options["body"])
    if fault.kind == "redirect":
        return said(options.get("status", 302), "Found", Location=options["location"])
    return said(options["status"], options.get("message", f"fault {options['status']}"), **options.get("headers", {}))


def _spoilt(answer: Answer, fault: Fault) -> Answer:
    if fault.kind == "truncated":
        return replace(answer, cut=True)
    if fault.kind == "broken":
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    return replace(answer, headers={**answer.headers, "Link": f'<{fault.options["location"]}>; rel="next"'})
