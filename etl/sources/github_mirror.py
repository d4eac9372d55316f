"""What GitHub's lists of changes do not tell: every item as it is now, and what became of one that is gone.

Believed here of GitHub: an issue keeps its number for life; deleted it answers 410; made private, marked as spam or
out of the token's reach 404; transferred 301 to its new place, while its comments and its timeline answer 301 or 404
without saying where to. A repository's numeric id outlives its renames, so everything is asked for by it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from etl.errors import ConfigurationError, SkipError
from etl.github import Look
from etl.records import Event, Item, Kind, Page, Repository, Scope, Vanished
from etl.sources.github_comments import comments_of_issue
from etl.sources.github_cursor import WalkPosition, read_walk_position, write_walk_position
from etl.sources.github_json import Decoded, parse_event, parse_item
from etl.sources.github_lists import ListReader, address_of, clock_of, issues_by_creation, parse_page

_log = logging.getLogger(__name__)

_EVERY_KIND = Scope(kinds=("issue", "pull_request"))
_MOST_MOVES = 5


class GitHubMirror:
    """Asks about all items of a repository, and about single ones."""

    def __init__(self, reader: ListReader) -> None:
        self._reader = reader
        self._names: dict[int, str] = {}

    def walk(self, repository: Repository, scope: Scope, labels: Sequence[str], position: str | None) -> Iterator[Page]:
        """Every issue and pull request of the scope in order of creation, one list of a label after the other.

        A page's cursor is where the next one begins, also in a later run; None on the last page. A position that
        GitHub refuses begins its list again from the front: items may come twice, none is left out. One that is not of
        these labels begins with the first of them.

        Raises:
            SkipError: the repository's issues are switched off. ConfigurationError: it is not there.
            BudgetError, RateLimitError, UnavailableError: as the client says; the pages given before stand.
        """
        lists: list[str | None] = [*labels] or [None]
        left_off = read_walk_position(position)
        places = [None if label is None else label.lower() for label in lists]
        known = None if left_off.label is None else left_off.label.lower()
        first = places.index(known) if known in places else 0
        link = left_off.next if known in places else None
        for place in range(first, len(lists)):
            label = lists[place]
            pages = issues_by_creation(self._reader, address_of(repository), repository.full_name, label, "asc", link)
            for response, address in pages:
                items, skipped = parse_page(response, repository, scope, address)
                following = None
                if response.next_url is not None:
                    following = WalkPosition(label, self._reader.below_root(response.next_url))
                elif place + 1 < len(lists):
                    following = WalkPosition(lists[place + 1])
                cursor = None if following is None else write_walk_position(following)
                yield Page(tuple(items), cursor, tuple(skipped))
            link = None

    def recheck(self, repository: Repository, kind: Kind, number: int) -> Item | Vanished:
        """One issue or pull request as it is now (an issue may have become a pull request), or why it is gone.

        Raises:
            SkipError: what was answered cannot be used, or the repository's issues are switched off.
        """
        what = _in_words(repository, kind, number)
        look = self._reader.look(f"{address_of(repository)}/issues/{number}", what)
        moves = 0
        while look.body is None:
            if look.status == 404:
                return Vanished("hidden" if moves == 0 else "transferred")
            if look.status == 410:
                if "disabled" in look.said.lower():
                    raise SkipError(f"{what}: the repository's issues are switched off")
                return Vanished("deleted" if moves == 0 else "transferred")
            moves += 1
            if look.location is None or moves > _MOST_MOVES:
                return Vanished("transferred")
            try:
                look = self._reader.look(look.location, f"where {what} was transferred to")
            except ConfigurationError as error:
                _log.info("where an item was transferred to cannot be read: %s", error)
                return Vanished("transferred")
        return self._item_of(look, repository, number, what)

    def comments_of(self, repository: Repository, kind: Kind, number: int) -> list[Item] | Vanished:
        """All comments of one issue or pull request as they are now, or why it is gone.

        Raises:
            SkipError: a comment cannot be used, or they are not there though the item is: nothing can be said of them.
        """
        found = comments_of_issue(self._reader, repository, number, _EVERY_KIND)
        if isinstance(found, Look):
            return self._gone(repository, kind, number, "comments")
        if found.skipped:
            raise SkipError(found.skipped[0].line)
        if any(comment.parent_number != number for comment in found.items):
            return self._gone(repository, kind, number, "comments")
        return found.items

    def history_of(self, repository: Repository, kind: Kind, number: int) -> list[Event]:
        """When one issue or pull request was closed, reopened, labeled and unlabeled, by its timeline, in its order.

        Raises:
            SkipError: the item, or its timeline, is no longer there, or an entry cannot be used.
        """
        what = _in_words(repository, kind, number)
        pages = self._reader.whole_list(f"{address_of(repository)}/issues/{number}/timeline", f"the events of {what}")
        if isinstance(pages, Look):
            raise SkipError(f"{what}: its timeline is not there ({pages.status})")
        events = []
        for page in pages:
            body: Decoded = page.body
            for record in body.value:
                event = parse_event(record, repository, number, doubtful=body.doubtful, now=clock_of(page))
                if event is not None:
                    events.append(event)
        return events

    def confirm(self, repository: Repository) -> None:
        """Passes if the repository answers and has its issues switched on.

        Raises:
            ConfigurationError: it is not there, or not for this token. SkipError: its issues are switched off.
        """
        today = self._reader.today(address_of(repository), repository.full_name)
        if repository.github_id not in (None, today.repository.github_id):
            raise ConfigurationError(
                f"repository {repository.full_name} answers with another id than before: was it made anew? "
                "Nothing is said of its old items"
            )
        if not today.has_issues:
            raise SkipError(f"repository {today.repository.full_name} has its issues switched off")
        self._names[repository.key] = today.repository.full_name

    def _gone(self, repository: Repository, kind: Kind, number: int, part: str) -> Vanished:
        """Why an item is gone whose parts are: only the item itself says it."""
        item = self.recheck(repository, kind, number)
        if isinstance(item, Vanished):
            return item
        raise SkipError(f"{_in_words(repository, kind, number)}: its {part} are not there, though it is itself")

    def _item_of(self, look: Look, repository: Repository, number: int, what: str) -> Item | Vanished:
        """The item that was answered; where it is one of another place, that it was transferred there."""
        body: Decoded = look.body
        record = body.value
        given = record.get("number") if isinstance(record, dict) else None
        if type(given) is not int:
            raise SkipError(f"{what}: the answer is no issue")
        name = _name_in(record) or repository.full_name
        is_here = name.lower() == repository.full_name.lower() or name.lower() == self._name_of(repository).lower()
        if given != number or not is_here:
            return Vanished("transferred", name, given)
        try:
            return parse_item(record, repository, doubtful=body.doubtful, now=clock_of(look))
        except SkipError as error:
            raise SkipError(f"{repository.full_name}: {error}") from None

    def _name_of(self, repository: Repository) -> str:
        """The repository's name today: what is stored may be a former one."""
        if repository.key not in self._names:
            today = self._reader.today(address_of(repository), repository.full_name)
            self._names[repository.key] = today.repository.full_name
        return self._names[repository.key]


def _in_words(repository: Repository, kind: Kind, number: int) -> str:
    return f"{kind.replace('_', ' ')} {repository.full_name}#{number}"


def _name_in(record: Mapping[str, Any]) -> str | None:
    """'owner/name' of the repository that an issue says it belongs to; None where it says none."""
    address = record.get("repository_url")
    if not isinstance(address, str):
        return None
    parts = urlsplit(address).path.partition("/repos/")[2].split("/")
    return f"{parts[0]}/{parts[1]}" if len(parts) == 2 and all(parts) else None
