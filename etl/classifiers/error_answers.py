"""What an error answer of Anthropic says, whether a person must pay, and what to say of it with the way out."""

from typing import TYPE_CHECKING

from etl.classifiers.answers import clean_line
from etl.classifiers.attempts import speaks_of_money
from etl.classifiers.prices import load_prices
from etl.errors import BudgetError, ConfigurationError, ModelGoneError, StopError

if TYPE_CHECKING:
    from anthropic import APIStatusError


def describe_error(error: "APIStatusError") -> str:
    """One line on an error answer: status, the service's words (bounded), its request id."""
    words = clean_line(error.api_message or "no message of the API", 200)
    return f"{error.status_code}, {words}" + (f", request {error.request_id}" if error.request_id else "")


def is_about_money(error: "APIStatusError") -> bool:
    """Whether a person must pay or raise a limit. An own spend limit is a 400 told from others only by its words."""
    return (
        error.status_code == 402
        or error.type == "billing_error"
        or (error.error_code or "").endswith("spend_limit_reached")
        or (error.status_code in {400, 429} and speaks_of_money(error.api_message or ""))
    )


def stop_of(error: "APIStatusError", model: str, address: str) -> StopError:
    """The error to end the run with: want of budget, or something that no other text would fare better with."""
    if is_about_money(error):
        return BudgetError(
            f"Anthropic refuses further requests for want of budget ({describe_error(error)}); the rest stays "
            "pending until the limit is raised or the balance filled in the Anthropic console"
        )
    return refusal_of(error, model, address)


def refusal_of(error: "APIStatusError", model: str, address: str) -> ConfigurationError:
    """The error for an answer that no other text would fare better with; one of its own where the model is gone."""
    message = error.api_message or ""
    # A proxy without this endpoint may repeat the path it was asked for, and that ends with the model as well.
    if error.status_code == 404 and model in message and f"/{model}" not in message:
        successor = load_prices().facts(model).successor
        instead = f"its successor {successor}" if successor else "another one"
        return ModelGoneError(
            f"Anthropic knows no model {model!r}, or no longer ({describe_error(error)}): set ISSUETIDE_MODEL to"
            f" {instead}"
        )
    return ConfigurationError(_refusal_words(error, model, address))


def _refusal_words(error: "APIStatusError", model: str, address: str) -> str:
    said = describe_error(error)
    if error.status_code == 401:
        return f"Anthropic refuses the key ({said}): check ANTHROPIC_API_KEY, or make a new key in its console"
    if error.status_code == 403:
        return f"Anthropic's key may not do this ({said}): check its workspace and whether it may use {model!r}"
    if error.status_code in {404, 405}:
        # The vendor's own host has the same `not_found_error` for a wrong path, but then names no model.
        return not_the_api(address, said)
    return f"Anthropic refuses the request for model {model!r} ({said}): check ISSUETIDE_MODEL and the task file"


def not_the_api(address: str, said: str) -> str:
    """What to say where `address` (without credentials) leads to something else than the API."""
    return (
        f"{address} is not the root of the Anthropic API ({said}): set ANTHROPIC_BASE_URL to what stands before "
        "/v1/messages, or leave it unset"
    )
