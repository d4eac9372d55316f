"""Tokens, Apps and windows, without a server."""

from math import inf
from pathlib import Path

import pytest

from etl.cli.wiring import make_github_client, read_credentials
from etl.errors import ConfigurationError
from etl.github_credentials import App, Credential, CredentialPool, Credentials, Window, read_app, read_tokens
from etl.settings import Settings, read_settings

KEY = "-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----\n"
REPO = "repos/acme/rocket"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (None, ()),
        (" , ,", ()),
        ("one", ("one",)),
        ("one\n", ("one",)),
        ("one, two ,three,", ("one", "two", "three")),
        ("one,two,one", ("one", "two")),
    ],
)
def test_tokens_are_separated_by_commas(text: str | None, tokens: tuple[str, ...]) -> None:
    assert read_tokens(text) == tokens


@pytest.mark.parametrize("text", ["one two", "one,tw\to", "schlüssel", "a\x00b"])
def test_what_cannot_be_a_token_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="GITHUB_TOKEN") as caught:
        read_tokens(text)
    assert text not in str(caught.value)


def test_no_app_setting_is_no_app() -> None:
    assert read_app(None, None, None, None) is None


@pytest.mark.parametrize("text", [KEY, KEY.replace("\n", "\\n"), KEY.replace("\n", "\r\n"), f"  {KEY}\n\n"])
def test_a_key_may_be_written_with_real_or_escaped_line_ends(text: str) -> None:
    assert read_app("7", text, None, 9) == App("7", KEY, 9)


def test_a_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(KEY)
    assert read_app("7", None, path, None) == App("7", KEY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, KEY, None, None), "GITHUB_APP_ID"),
        ((None, None, Path("key.pem"), None), "GITHUB_APP_ID"),
        ((None, None, None, 5), "GITHUB_APP_ID"),
        (("7", None, None, None), "GITHUB_APP_PRIVATE_KEY_FILE or GITHUB_APP_PRIVATE_KEY"),
        (("7", KEY, Path("key.pem"), None), "both set"),
        (("7", "s3cr3t", None, None), "GITHUB_APP_PRIVATE_KEY holds no private key"),
        (("7", KEY.replace("PRIVATE", "PUBLIC"), None, None), "GITHUB_APP_PRIVATE_KEY holds no private key"),
        (("7", None, Path("/nowhere/key.pem"), None), r"FILE \(/nowhere/key.pem\) cannot be read: No such file"),
    ],
)
def test_an_app_that_is_set_by_half_is_refused(
    arguments: tuple[str | None, str | None, Path | None, int | None], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_app(*arguments)
    assert "s3cr3t" not in str(caught.value)


def test_a_key_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.der"
    path.write_bytes(b"\x30\x82\xff\xfe")
    with pytest.raises(ConfigurationError, match="it is no text"):
        read_app("7", None, path, None)


def test_secrets_are_in_no_repr() -> None:
    shown = repr(Credentials(("s3cr3t",), App("7", KEY))) + repr(CredentialPool(Credentials(("s3cr3t",))).tokens)
    assert "s3cr3t" not in shown
    assert "PRIVATE KEY" not in shown


def test_the_settings_give_tokens_and_an_app_and_hide_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("GITHUB_TOKEN", "s3cr3t1, s3cr3t2")
    monkeypatch.setenv("GITHUB_APP_ID", "7")
    monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY", KEY)
    monkeypatch.setenv("GITHUB_APP_INSTALLATION_ID", "12")
    monkeypatch.setenv("ISSUETIDE_MAX_CALLS", "30")
    settings = read_settings()
    assert read_credentials(settings) == Credentials(("s3cr3t1", "s3cr3t2"), App("7", KEY, 12))
    assert "s3cr3t" not in repr(settings)
    assert "abc" not in repr(settings)
    with make_github_client(settings, inf) as client:
        assert client.counters()["calls"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("ISSUETIDE_MAX_CALLS", "0"), ("GITHUB_APP_INSTALLATION_ID", "mine"), ("GITHUB_APP_INSTALLATION_ID", "0")],
)
def test_a_malformed_setting_is_named(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        read_settings()


def test_a_window_is_full_until_known_and_again_after_its_reset() -> None:
    window = Window()
    assert window.budget(0) == inf
    window.learn(10, 5000, resets_at=60)
    assert (window.budget(59), window.budget(60)) == (10, inf)
    assert window.opens_in(0) == 0


def test_a_spent_window_is_closed_until_its_reset() -> None:
    window = Window()
    window.learn(0, 5000, resets_at=60)
    assert (window.opens_in(20), window.opens_in(60)) == (40, 0)


def test_a_spent_window_without_a_reset_is_not_closed() -> None:
    window = Window()
    window.learn(0, None, None)
    assert window.opens_in(0) == 0


def _pool(count: int = 3) -> tuple[CredentialPool, list[Credential]]:
    pool = CredentialPool(Credentials(tuple(f"token{number}" for number in range(count))))
    return pool, pool.tokens


def test_places_and_identities_tell_tokens_apart_and_not_what_they_are() -> None:
    _, tokens = _pool()
    assert [token.place for token in tokens] == ["token 1 of 3", "token 2 of 3", "token 3 of 3"]
    assert len({token.identity for token in tokens}) == 3
    assert CredentialPool(Credentials(("token1",))).tokens[0].identity == tokens[1].identity
    assert CredentialPool(Credentials()).tokens[0].identity == ""


def test_the_preferred_one_is_chosen_while_it_is_open() -> None:
    pool, (one, two, three) = _pool()
    two.window.learn(1, 5000, 100)
    assert pool.choose(pool.tokens, {}, REPO, two.identity, 0) is two
    assert pool.choose(pool.tokens, {}, REPO, None, 0) is one
    one.window.closed_until = 5
    three.dropped = "why"
    assert pool.choose(pool.tokens, {}, REPO, one.identity, 0) is two


def test_what_a_token_is_refused_elsewhere_leaves_it_in_use_here() -> None:
    pool, (one, two, _) = _pool()
    pool.note_answer(two, [one], REPO)
    assert pool.choose([one, two], {}, REPO, None, 0) is two
    assert pool.choose([one, two], {}, "repos/acme/other", None, 0) is one
    assert pool.choose([one, two], {two: None}, REPO, None, 0) is None


def test_a_token_that_saw_a_repository_stays_in_use_after_one_refusal() -> None:
    pool, (one, two, _) = _pool()
    pool.note_answer(one, [], REPO)
    pool.note_answer(two, [one], REPO)
    assert pool.choose([one, two], {}, REPO, None, 0) is one


def test_blind_tokens_are_asked_where_no_other_is_left() -> None:
    pool, (one, two, _) = _pool()
    pool.note_answer(two, [one], REPO)
    two.dropped = "why"
    assert pool.choose([one, two], {}, REPO, None, 0) is one


def test_both_addresses_of_a_repository_are_one() -> None:
    pool, (one, two, _) = _pool()
    pool.note_same(REPO, "repositories/5")
    pool.note_same("repositories/5", REPO)
    pool.note_answer(two, [one], "repositories/5")
    assert pool.choose([one, two], {}, REPO, None, 0) is two
