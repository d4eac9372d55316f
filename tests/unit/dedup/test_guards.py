"""Which texts of a family are of one kin: equal in all that tells problems apart, whatever else differs."""

import pytest

from etl.dedup import family_hash, normalize, text_hash
from etl.dedup.guards import GUARDS, guard_tokens, kin_hash

# Of one family, and of one kin: what differs are paths, users and names that tell nothing.
SAME_KIN = [
    (
        "the job was stopped while building /srv/parser/lex.c on the runner",
        "the job was stopped while building /opt/net/socket.c on the runner",
    ),
    (
        "access denied for user alice on the main database server, exit code 3",
        "access denied for user bob on the main database server, exit code 3",
    ),
    (
        "the class com.acme.web.Router could not be loaded by the container",
        "the class org.octo.net.Bridge could not be loaded by the container",
    ),
    (
        "OSError: [Errno 28] No space left on device while writing /data/a/out.bin",
        "OSError: [Errno 28] No space left on device while writing /data/b/new.bin",
    ),
]

# Of one family, but another kin each: the guard that differs.
OTHER_KIN = {
    "exit code": (
        "the build of the image exited with code 137 in the end",
        "the build of the image exited with code 1 in the end",
    ),
    "HTTP status": (
        "the request for the list of packages was answered with status 429",
        "the request for the list of packages was answered with status 401",
    ),
    "order of statuses": (
        "the check of the service expected 200 but got 500 instead",
        "the check of the service expected 500 but got 200 instead",
    ),
    "diagnostic": (
        "the compiler stopped with error[E0308] in the router module",
        "the compiler stopped with error[E0382] in the router module",
    ),
    "version": (
        "no matching distribution was found for torch==2.9.0 on this platform",
        "no matching distribution was found for torch==2.8.0 on this platform",
    ),
    "direction of a requirement": (
        "the tool says it requires node >18 for all of this",
        "the tool says it requires node <18 for all of this",
    ),
    "quoted name": (
        "the import failed because there is no module named 'foo' anywhere",
        "the import failed because there is no module named 'bar' anywhere",
    ),
    "name in double quotes": (
        'the process "/bin/make all" did not complete as it should have',
        'the process "/bin/make test" did not complete as it should have',
    ),
    "test": (
        "the suite failed in tests/net/a.py::test_dtype[float16] as it did before",
        "the suite failed in tests/net/a.py::test_dtype[float32] as it did before",
    ),
    "exception": (
        "the worker ended with java.lang.io.EOFException after all was read",
        "the worker ended with java.lang.io.SealException after all was read",
    ),
    "value of a code": (
        "the pod was removed by the system with reason=OOMKilled last night",
        "the pod was removed by the system with reason=Evicted last night",
    ),
    "host": (
        "the upload to https://api.acme.io/v1/x was closed by the other side",
        "the upload to https://api.octo.io/v1/x was closed by the other side",
    ),
    "word for a value": (
        "the assertion says that the flag must be true for such a call",
        "the assertion says that the flag must be false for such a call",
    ),
}

TOKENS = {
    "process exited with code 137 while building src/a.py": ("137",),
    "OSError: [Errno 28] No space left": ("OSError", "28"),
    "killed by SIGBUS, reason=OOMKilled": ("SIGBUS", "reason=OOMKilled", "OOMKilled"),
    "requires node >=18.": (">=18", "18"),
    "worker-<n> took <dur> at <addr>": (),
    "it's the user's fault": (),
    "GET http://<ip>:8080/*: CUDA_ERROR_UNKNOWN": ("GET", ":8080/*", "CUDA_ERROR_UNKNOWN"),
    "run `make all` with 'x y' and \"z\"": ("`make all`", "'x y'", '"z"'),
}


@pytest.mark.parametrize(("one", "other"), SAME_KIN)
def test_texts_that_differ_in_nothing_that_matters_are_of_one_kin(one: str, other: str) -> None:
    assert text_hash(one) != text_hash(other)
    assert kin_hash(one) == kin_hash(other) is not None


@pytest.mark.parametrize("name", OTHER_KIN)
def test_a_guard_that_differs_makes_another_kin_of_the_same_family(name: str) -> None:
    one, other = OTHER_KIN[name]
    assert family_hash(one) == family_hash(other)
    assert None not in (kin_hash(one), kin_hash(other))
    assert kin_hash(one) != kin_hash(other)


def test_another_family_is_another_kin() -> None:
    assert kin_hash("the job was stopped while building a.c on it") != kin_hash(
        "the job was started while building a.c on it"
    )


@pytest.mark.parametrize("text", ["", "137", "'foo' is broken", "com.acme.web.Router at /srv/app/x.py"])
def test_a_text_that_says_hardly_more_than_its_values_has_no_kin(text: str) -> None:
    assert kin_hash(text) is None


@pytest.mark.parametrize("text", TOKENS)
def test_the_guards_of_a_normalized_text(text: str) -> None:
    """Where these move, ids of kin move: raise `RULES_VERSION`."""
    assert guard_tokens(text) == TOKENS[text]


def test_the_guards_are_those_of_the_normalized_text() -> None:
    text = "\x1b[31mworker-17 exited with code 137 after 20s\x1b[0m"
    assert kin_hash(text) == kin_hash(normalize(text))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shape", ["1", "a", "a1", "1.", "A_", "::a", "'", '"', "`a", "code=", "test.", "Error", "=1"])
def test_a_hostile_text_is_read_in_time_that_grows_with_its_length_only(shape: str) -> None:
    """A row whose time grew with the square of the length would take minutes of this."""
    text = shape * (1_000_000 // len(shape))
    assert guard_tokens(text) == guard_tokens(text)


def test_every_row_has_a_name_of_its_own() -> None:
    names = [name for name, _ in GUARDS]
    assert len(set(names)) == len(names)
