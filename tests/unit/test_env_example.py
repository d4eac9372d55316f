"""The example of a settings file in `cron/` is one that every reader understands, and only names what there is."""

import re
from pathlib import Path

import pytest
import yaml

from etl.settings import Settings, read_settings

CRON = Path(__file__).parents[2] / "cron"
EXAMPLE = (CRON / "issuetide.env.example").read_text(encoding="utf-8")
LINE = re.compile(r"^#?([A-Z_]+)=(.*)$", re.MULTILINE)
VALUES = dict(LINE.findall(EXAMPLE))


def test_every_name_is_a_setting_and_every_value_plain() -> None:
    assert VALUES
    assert set(VALUES) <= {name.upper() for name in Settings.model_fields}
    for line in EXAMPLE.splitlines():
        assert not line or line.startswith("# ") or line == "#" or LINE.fullmatch(line), line
    assert not [value for value in VALUES.values() if re.search(r"[\s\"'#$\\\\]", value)]


@pytest.mark.parametrize("commented_out", [True, False])
def test_issuetide_reads_it(commented_out: bool) -> None:
    text = EXAMPLE if commented_out else re.sub(r"^#(?=[A-Z])", "", EXAMPLE, flags=re.MULTILINE)
    Path(".env").write_text(text, encoding="utf-8")  # the working folder is this test's own
    settings = read_settings()
    assert settings.github_token is None
    assert settings.database_url is not None
    assert settings.issuetide_max_cost_usd == (None if commented_out else 5)


def test_it_has_what_the_cronjob_takes_from_the_secret() -> None:
    text = (CRON / "kubernetes-cronjob.yaml").read_text(encoding="utf-8")
    assert list(yaml.safe_load_all(text))
    keys = set(re.findall(r"key: ([A-Z_]+)", text))
    assert keys <= set(VALUES)


@pytest.mark.parametrize("path", ["README.md", "issuetide.service"])
def test_it_is_named_where_the_settings_are_asked_for(path: str) -> None:
    assert "issuetide.env.example" in (CRON / path).read_text(encoding="utf-8")
