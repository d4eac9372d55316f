"""The files for running Issuetide elsewhere are right as far as can be told without a scheduler, cluster or engine.

Every `issuetide` command line in them, and in the docs that belong to them, is taken apart against the real command.
"""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from etl import errors
from etl.cli.app import app
from etl.servers.opensearch import OPENSEARCH_VERSION
from etl.settings import Settings
from etl.tasks import load_tasks

ROOT = Path(__file__).parents[2]
SETTINGS = {name.upper() for name in Settings.model_fields}
LOOP = ROOT / "cron" / "loop.sh"
COMMAND: Any = typer.main.get_command(app)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def load_yaml(path: str) -> Any:
    return yaml.safe_load(read(path))


CRONJOBS = ("cron/kubernetes-cronjob.yaml", "cron/kubernetes-check.yaml")
SERVICES = ("cron/issuetide.service", "cron/issuetide-check.service")


def cronjob(path: str = CRONJOBS[0]) -> Any:
    return load_yaml(path)


def cronjob_pod(path: str = CRONJOBS[0]) -> Any:
    return cronjob(path)["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def cronjob_container(path: str = CRONJOBS[0]) -> Any:
    return cronjob_pod(path)["containers"][0]


# Command lines


def complaints(words: Sequence[str]) -> list[str]:
    """What the real command would not understand of `words`, the arguments after `issuetide`."""
    command, rest = COMMAND, list(words)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        if name.startswith("-"):
            return [] if name in {"--help", "--version"} else [f"option {name} before the command"]
        if name not in command.commands:
            return [f"command {name!r} of {words}"]
        command = command.commands[name]
    options: dict[str, Any] = {
        spelling: parameter for parameter in command.params for spelling in (*parameter.opts, *parameter.secondary_opts)
    }
    options |= {"--help": None}
    found = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            continue
        name, _, value = word.partition("=")
        if name not in options:
            found.append(f"option {name} of {words}")
        elif (option := options[name]) is not None and not option.is_flag and not value:
            value = rest.pop(0) if rest else ""
        if name == "--task" and value not in load_tasks():
            found.append(f"task {value!r} of {words}")
    return found


def shell_commands(text: str) -> Iterator[list[str]]:
    """The arguments of every `issuetide` in lines of shell, however it is called."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        if not (match := re.search(r"(?:^|\s&& |\s-- |\$\()(?:\S*/)?issuetide(\s+\S.*)$", line.strip())):
            continue
        words = shlex.split(re.split(r"\s(?:>>|\|\||&&|\||#)\s?|[;)]|\s2>", match[1])[0], comments=True)
        yield words


def fenced(path: str, *languages: str) -> str:
    return "\n".join(
        block for language, block in re.findall(r"```(\w*)\n(.*?)```", read(path), re.DOTALL) if language in languages
    )


def commands_of_the_files() -> Iterable[tuple[str, list[str]]]:
    for path in ("docs/operations.md", "cron/README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for words in shell_commands(fenced(path, "sh", "ini")):
            yield path, words
        for command in re.findall(r"`issuetide ([^`]+)`", read(path).replace("COMMAND", "run")):
            yield path, shlex.split(command)
    crontab = "\n".join(line for line in read("cron/crontab").splitlines() if not line.startswith("#"))
    yield from (("cron/crontab", words) for words in shell_commands(crontab))
    for path in SERVICES:
        for line in re.findall(r"^ExecStart=(\S*/issuetide .*)$", read(path), re.MULTILINE):
            yield path, shlex.split(line)[1:]
    makefile = read("Makefile").replace("$(BIN)/", "")
    yield from (("Makefile", words) for words in shell_commands(makefile) if "$" not in words[0])
    yield from ((path, cronjob_container(path)["args"]) for path in CRONJOBS)
    for name, service in load_yaml("compose.yaml")["services"].items():
        if "build" in service:
            looped = service.get("entrypoint") == ["issuetide-loop"]
            yield f"compose.yaml {name}", [*(["run"] if looped else []), *service["command"]]


COMMANDS = list(dict.fromkeys((path, tuple(words)) for path, words in commands_of_the_files()))


@pytest.mark.parametrize(("path", "words"), COMMANDS, ids=[f"{path}: {' '.join(words)}" for path, words in COMMANDS])
def test_every_command_line_is_one_that_the_command_understands(path: str, words: tuple[str, ...]) -> None:
    assert complaints(words) == [], path


def test_the_check_of_command_lines_finds_what_is_wrong() -> None:
    assert complaints(["run", "--repo", "owner/name", "--task", "issue_kind", "--max-cost-usd=2"]) == []
    assert complaints(["run", "--repos", "owner/name"])
    assert complaints(["rum"])
    assert complaints(["db", "upgrad"])
    assert complaints(["run", "--task", "no_such_task"])


@pytest.mark.parametrize(
    "path",
    [
        "docs/operations.md",
        "cron/README.md",
        "cron/crontab",
        *SERVICES,
        *CRONJOBS,
        "compose.yaml import-dashboards",
        "Makefile",
    ],
)
def test_the_command_lines_of_each_file_are_found(path: str) -> None:
    assert [words for found, words in COMMANDS if found == path]


# Every mention of a setting


@pytest.mark.parametrize(
    "path",
    [
        "docs/operations.md",
        "cron/README.md",
        "cron/crontab",
        *SERVICES,
        *CRONJOBS,
        "cron/loop.sh",
        "compose.yaml",
        "Dockerfile",
        "Makefile",
    ],
)
def test_every_setting_that_is_mentioned_exists(path: str) -> None:
    mentioned = set(
        re.findall(
            r"\b(?:ISSUETIDE_[A-Z_]+|(?:DATABASE|OPENSEARCH|DASHBOARDS|GITHUB_API)_URL|GITHUB_TOKEN|ANTHROPIC_\w+)\b",
            read(path),
        )
    )
    # The loop's own, and a variable of the compose file.
    assert mentioned - SETTINGS <= {"ISSUETIDE_LOOP_MINUTE", "ISSUETIDE_REPO"}


# docs/operations.md


def test_the_table_of_exit_codes_has_every_code_of_the_error_tree() -> None:
    section = read("docs/operations.md").split("## Exit codes")[1].split("\n## ")[0]
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    classes = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.IssuetideError)
    ]
    named = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    known = {kind.exit_code for kind in classes} | named | {2, 130}
    assert listed == sorted(known)


@pytest.mark.parametrize(
    "path", ["docs/operations.md", "docs/glossary.md", "cron/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(path: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(path)):
        assert not target.startswith("http"), f"{target}: these files stand for themselves"
        file, _, anchor = target.partition("#")
        linked = (ROOT / path).parent / file if file else ROOT / path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target


def test_the_price_of_the_first_load_is_that_of_the_price_list() -> None:
    prices = tomllib.loads(read("schemas/prices.toml"))["models"]["claude-haiku-5-5"]
    dollars = (690 * prices["input"] + 600 * prices["cache_read"] + 50 * prices["output"]) / 1000
    formula = re.search(
        r"\(690 . \$([\d.]+) \+ 600 . \$([\d.]+) \+ 50 . \$([\d.]+)\) / 1,000,000 = \$([\d.]+)",
        read("docs/operations.md"),
    )
    assert formula is not None
    assert [float(number) for number in formula.groups()] == pytest.approx(
        [prices["input"], prices["cache_read"], prices["output"], dollars], abs=0.0006
    )


# cron and systemd


def crontab_jobs() -> list[str]:
    return [line for line in read("cron/crontab").splitlines() if re.match(r"[\d*]", line)]


def test_the_crontab_has_an_hourly_run_a_check_beside_it_and_no_bare_percent_sign() -> None:
    run, check = crontab_jobs()
    assert re.match(r"([0-5]?\d) \* \* \* \* \S", run)
    assert re.match(r"([0-5]?\d) \*/3 \* \* \* \S", check)
    assert not re.search(r"(?<!\\)%", run + check), "cron would turn it into a new line"
    lines = [line for line in read("cron/crontab").splitlines() if line and not line.startswith("#")]
    assert {line.partition("=")[0] for line in lines} >= {"PATH", "SHELL", "MAILTO"}


@pytest.mark.parametrize(("code", "mails"), [(0, False), (7, False), (4, True), (8, True)])
def test_the_crontab_s_line_says_something_for_a_bad_end_only(tmp_path: Path, code: int, mails: bool) -> None:
    command = (
        crontab_jobs()[0]
        .split(None, 5)[5]
        .replace("/etc/issuetide", str(tmp_path))
        .replace("/var/log/issuetide", str(tmp_path))
    )
    programs = fake_programs(tmp_path, issuetide=f'echo "$@"; exit {code}')
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": f"{programs}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (tmp_path / "run.log").read_text().startswith("run --repo owner/name")
    assert done.stderr == ""
    assert (f"exit code {code}" in done.stdout) is mails
    assert (done.stdout == "") is not mails


@pytest.mark.parametrize(("code", "mail"), [(0, ""), (8, "what is stale\nand why\n"), (10, "what is stale\nand why\n")])
def test_the_crontab_s_check_mails_what_is_wrong_and_nothing_else(tmp_path: Path, code: int, mail: str) -> None:
    command = crontab_jobs()[1].split(None, 5)[5].replace("/etc/issuetide", str(tmp_path))
    programs = fake_programs(
        tmp_path, issuetide=f'echo "$@" >>asked; echo "what is stale"; echo "and why" >&2; exit {code}'
    )
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": f"{programs}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (tmp_path / "asked").read_text() == "status --repo owner/name --max-age 3h\n"
    assert (done.stdout, done.stderr) == (mail, "")


def unit(path: str) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in read(path).splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def test_the_service_is_a_oneshot_that_ends_after_the_run_s_own_deadline_and_before_the_hour() -> None:
    service = unit("cron/issuetide.service")
    assert service["Type"] == ["oneshot"]
    minutes = re.fullmatch(r"(\d+)min", service["TimeoutStartSec"][0])
    assert minutes is not None
    assert Settings.model_fields["issuetide_deadline_minutes"].default < int(minutes[1]) < 60
    assert service["SuccessExitStatus"] == [f"{errors.LockedError.exit_code} 130"]
    assert service["EnvironmentFile"] == ["/etc/issuetide/environment"], "no dash: a missing file must not go unnoticed"


def test_the_timer_runs_hourly_and_catches_up() -> None:
    timer = unit("cron/issuetide.timer")
    assert timer["OnCalendar"] == ["*-*-* *:07:00"]
    assert timer["Persistent"] == ["true"]
    assert "RandomizedDelaySec" in timer


def test_the_check_is_hardened_as_the_run_is_and_asks_between_two_runs() -> None:
    run, check = (unit(path) for path in SERVICES)
    of_the_run = {"ExecStart", "SuccessExitStatus", "TimeoutStopSec", "Environment", "WorkingDirectory"}
    of_the_run |= {"StateDirectory", "StateDirectoryMode"}
    assert set(check) == set(run) - of_the_run | {"ExecStart"}
    differing = {key for key in check if check[key] != run[key]}
    assert differing == {"Description", "ExecStart", "TimeoutStartSec", "MemoryMax", "TasksMax"}
    assert unit("cron/issuetide-check.timer")["OnCalendar"] == ["*-*-* *:37:00"]


def units_here(folder: Path, path: str) -> list[str]:
    """Copies of a service whose program exists and of its timer, for systemd's own checks."""
    for name in (path, path.replace(".service", ".timer")):
        text = read(name).replace("/opt/issuetide/bin/issuetide", sys.executable)
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    return [str(file) for file in sorted(folder.iterdir())]


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze"
)


@needs_systemd
@pytest.mark.parametrize("path", SERVICES)
def test_systemd_finds_nothing_to_complain_about_in_the_units(tmp_path: Path, path: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units_here(tmp_path, path)], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "issuetide" in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("path", SERVICES)
def test_systemd_rates_the_services_as_hardly_exposed(tmp_path: Path, path: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", units_here(tmp_path, path)[0]]
    done = subprocess.run(command, capture_output=True, text=True)
    rating = re.search(r"exposure level for issuetide[-a-z]*\.service: ([\d.]+)", done.stdout)
    if rating is None:
        pytest.skip(f"systemd-analyze cannot rate a file here: {done.stderr.strip()}")
    assert float(rating[1]) <= 2.5


@needs_systemd
@pytest.mark.parametrize(("path", "minute"), [("cron/issuetide.timer", "07"), ("cron/issuetide-check.timer", "37")])
def test_systemd_reads_a_timer_s_calendar_as_one_minute_of_every_hour(path: str, minute: str) -> None:
    calendar = unit(path)["OnCalendar"][0]
    done = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=True)
    assert f"Normalized form: *-*-* *:{minute}:00" in done.stdout


# Kubernetes


def test_the_cronjob_never_overlaps_never_retries_at_once_and_ends_within_the_hour() -> None:
    spec = cronjob()["spec"]
    assert spec["schedule"] == "7 * * * *"
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert Settings.model_fields["issuetide_deadline_minutes"].default * 60 < job["activeDeadlineSeconds"] < 3600


def test_the_check_s_job_fails_once_and_soon_between_two_runs() -> None:
    spec = cronjob("cron/kubernetes-check.yaml")["spec"]
    assert spec["schedule"] == "37 * * * *"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] <= 600
    assert cronjob_pod("cron/kubernetes-check.yaml")["restartPolicy"] == "Never"
    assert [v["name"] for v in cronjob_container("cron/kubernetes-check.yaml")["env"]] == ["DATABASE_URL"]


@pytest.mark.parametrize("path", CRONJOBS)
def test_a_cronjob_runs_without_root_and_without_a_writable_root(path: str) -> None:
    pod = cronjob_pod(path)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    container = cronjob_container(path)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("path", CRONJOBS)
def test_a_cronjob_takes_every_secret_by_reference(path: str) -> None:
    for variable in cronjob_container(path)["env"]:
        # A user name goes with its password, in one place.
        secret = re.search(r"TOKEN|KEY|_URL$|_USERNAME$|_PASSWORD$", variable["name"]) is not None
        assert ("valueFrom" in variable) is secret, variable["name"]
        assert variable["name"] in SETTINGS


@pytest.mark.parametrize("path", CRONJOBS)
def test_a_cronjob_s_volumes_are_all_there_and_the_user_is_that_of_the_image(path: str) -> None:
    pod = cronjob_pod(path)
    assert {mount["name"] for mount in cronjob_container(path)["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    user = re.search(r"^USER (\d+):(\d+)$", read("Dockerfile"), re.MULTILINE)
    assert user is not None
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (int(user[1]), int(user[2]))


# Dockerfile and compose


def test_what_the_dockerfile_copies_exists_and_is_let_through_by_the_dockerignore() -> None:
    rules = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = set()
    for line in re.findall(r"^COPY (.*)$", read("Dockerfile"), re.MULTILINE):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from=" not in line:
            copied |= set(words[:-1])
    assert copied == let_through
    assert all((ROOT / path).exists() for path in copied)


def test_the_dockerfile_copies_everything_that_the_wheel_is_built_from() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], "pyproject.toml", project["project"]["readme"]}
    needed |= set(project["project"]["license-files"])
    for path in needed:
        assert re.search(rf"^COPY .*\b{re.escape(path)}\b", read("Dockerfile"), re.MULTILINE), path


def test_the_image_does_not_run_as_root_and_holds_no_setting_but_paths() -> None:
    last_stage = read("Dockerfile").split("\nFROM ")[-1]
    assert re.search(r"^USER (?!0)\d+", last_stage, re.MULTILINE)
    assert set(re.findall(r"\b(\w+)=", last_stage.split("ENV ")[1].split("USER")[0])) & SETTINGS == {
        "ISSUETIDE_DATA_DIR"
    }


def test_the_image_is_installed_with_an_extra_that_there_is_and_can_read_as_a_github_app() -> None:
    extras = set(tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"])
    wheels, installed = (
        set(names.split(",")) for names in re.findall(r"'(?:\.|issuetide)\[([\w,]+)\]'", read("Dockerfile"))
    )
    assert wheels == installed == {"app"}
    assert installed <= extras


def test_the_images_of_the_files_carry_this_release_s_version() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    for path in ("compose.yaml", *CRONJOBS, "cron/README.md", ".github/workflows/ci.yml"):
        assert set(re.findall(r"\bissuetide:([\d.]+\d)", read(path))) == {version}, path
    assert f"## [{version}]" in read("CHANGELOG.md")


def test_the_compose_file_runs_the_opensearch_that_the_tests_run() -> None:
    services = load_yaml("compose.yaml")["services"]
    assert services["opensearch"]["image"] == f"opensearchproject/opensearch:{OPENSEARCH_VERSION}"
    assert services["dashboards"]["image"] == f"opensearchproject/opensearch-dashboards:{OPENSEARCH_VERSION}"
    major = int(services["postgres"]["image"].partition(":")[2])
    assert major >= 15


def test_the_services_wait_for_those_they_need_and_name_only_volumes_that_exist() -> None:
    compose = load_yaml("compose.yaml")
    services = compose["services"]
    for name, service in services.items():
        for needed, condition in service.get("depends_on", {}).items():
            assert needed in services, name
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{name} waits for {needed}"
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
    assert services["issuetide"]["depends_on"]["upgrade"] == {"condition": "service_completed_successfully"}
    assert "postgres" in services["upgrade"]["depends_on"]


def test_no_port_of_the_compose_file_is_open_to_the_network() -> None:
    for service in load_yaml("compose.yaml")["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_compose_file_s_servers_and_urls_fit_together() -> None:
    services = load_yaml("compose.yaml")["services"]
    environment = services["issuetide"]["environment"]
    assert set(environment) <= SETTINGS
    postgres = services["postgres"]["environment"]
    assert f"//{postgres['POSTGRES_USER']}:" in environment["DATABASE_URL"]
    assert environment["DATABASE_URL"].endswith(f"@postgres:5432/{postgres['POSTGRES_DB']}")
    assert environment["OPENSEARCH_URL"] == json.loads(services["dashboards"]["environment"]["OPENSEARCH_HOSTS"])[0]
    assert environment["DASHBOARDS_URL"] == "http://dashboards:5601"


def test_no_secret_stands_in_a_file() -> None:
    for service in load_yaml("compose.yaml")["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("TOKEN|KEY|PASSWORD", name):
                assert str(value).startswith("${"), name


# The loop


def fake_programs(folder: Path, **scripts: str) -> Path:
    programs = folder / "programs"
    programs.mkdir()
    for name, body in scripts.items():
        path = programs / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    return programs


def loop(folder: Path, *arguments: str, minute: str | None = None, **scripts: str) -> "subprocess.Popen[str]":
    programs = fake_programs(folder, **scripts)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "OUT": str(folder / "out")}
    if minute is not None:
        environment["ISSUETIDE_LOOP_MINUTE"] = minute
    return subprocess.Popen(
        ["/bin/sh", str(LOOP), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def test_the_loop_is_executable_and_a_portable_shell_script() -> None:
    assert LOOP.stat().st_mode & stat.S_IXUSR
    assert LOOP.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n", str(LOOP)], check=True)
    if (shellcheck := shutil.which("shellcheck")) is not None:
        subprocess.run([shellcheck, str(LOOP)], check=True)


def test_the_loop_runs_with_its_arguments_sleeps_to_the_minute_and_runs_again_whatever_the_exit_code(
    tmp_path: Path,
) -> None:
    # The loop passes the signal on: the last run does not die of it, and is still there when it comes.
    process = loop(
        tmp_path,
        "--repo", "owner/name", "--label", "oncall: export",
        issuetide="""for word in "$@"; do printf '<%s>' "$word" >>"$OUT"; done
echo >>"$OUT"
[ "$(wc -l <"$OUT")" -lt 5 ] || { trap "" TERM; kill -TERM "$PPID"; /bin/sleep 0.2; }
exit 6""",
        date="echo 1795233900",  # 2026-11-21 04:05:00 UTC
        sleep='echo "sleep $1" >>"$OUT"',
    )  # fmt: skip
    code, _, err = finished(process)
    run = "<run><--repo><owner/name><--label><oncall: export>"
    assert (tmp_path / "out").read_text().splitlines() == [run, "sleep 120", run, "sleep 120", run]
    assert err.splitlines() == ["loop: issuetide run ended with exit code 6"] * 3
    assert code == 0


@pytest.mark.parametrize(
    ("minute", "seconds"),
    [("7", 120), ("07", 120), ("5", 3600), ("4", 3540), ("0", 3300), ("00", 3300), ("59", 3240), ("08", 180)],
)
def test_the_loop_sleeps_until_the_next_such_minute_and_never_for_no_time(
    tmp_path: Path, minute: str, seconds: int
) -> None:
    process = loop(
        tmp_path,
        minute=minute,
        issuetide="exit 0",
        date="echo 1795233900",
        sleep='echo "$1" >"$OUT"; kill -TERM "$PPID"',
    )
    assert finished(process)[0] == 0
    assert (tmp_path / "out").read_text() == f"{seconds}\n"


@pytest.mark.parametrize("minute", ["60", "-1", "x", "007", "7 7"])
def test_the_loop_refuses_a_minute_that_is_none(tmp_path: Path, minute: str) -> None:
    code, _, err = finished(loop(tmp_path, minute=minute, issuetide='echo ran >"$OUT"'))
    assert code == 2
    assert "ISSUETIDE_LOOP_MINUTE" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("code", [2, 3])
def test_the_loop_ends_when_the_first_run_finds_a_wrong_set_up(tmp_path: Path, code: int) -> None:
    ended, _, err = finished(loop(tmp_path, issuetide=f"exit {code}", sleep='echo slept >"$OUT"'))
    assert ended == code
    assert f"exit code {code}" in err
    assert not (tmp_path / "out").exists()


def test_the_loop_goes_on_when_a_later_run_finds_a_wrong_set_up(tmp_path: Path) -> None:
    process = loop(
        tmp_path,
        issuetide='echo run >>"$OUT"; case $(wc -l <"$OUT") in 1) exit 0;; 2) exit 3;; *) kill -TERM "$PPID";; esac',
        sleep="exit 0",
    )
    code, _, err = finished(process)
    assert code == 0
    assert "exit code 3" in err
    assert (tmp_path / "out").read_text().count("run") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_loop_passes_a_signal_on_waits_for_the_run_to_close_its_work_and_ends(tmp_path: Path, number: int) -> None:
    process = loop(
        tmp_path,
        # Two commands after the signal: the loop must not be gone before they are done.
        issuetide="""trap 'echo closing >>"$OUT"; /bin/sleep 0.3; echo closed >>"$OUT"; exit 130' TERM
echo started
while :; do /bin/sleep 0.1; done""",
        sleep='echo slept >>"$OUT"',
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    code, _, err = finished(process)
    assert (tmp_path / "out").read_text().split() == ["closing", "closed"]
    assert err == "loop: issuetide run ended with exit code 130\n"
    assert code == 0


def test_a_signal_ends_the_loop_while_it_sleeps(tmp_path: Path) -> None:
    process = loop(tmp_path, issuetide="exit 0", sleep="echo asleep; exec /bin/sleep 3000")
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"
    process.send_signal(signal.SIGTERM)
    assert finished(process)[0] == 0


# The commands of a working day


def test_the_makefile_s_targets_are_all_phony_and_explained() -> None:
    makefile = read("Makefile")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z]+):.* ## \S", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert targets == explained == set(phony[1].split())
    assert targets >= {"setup", "demo", "test", "lint", "types", "format", "migrations", "coverage"}


def test_the_make_targets_that_the_docs_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", fenced("CONTRIBUTING.md", "sh"), re.MULTILINE)) <= targets


def test_pre_commit_asks_no_other_host() -> None:
    repositories = load_yaml(".pre-commit-config.yaml")["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def test_the_workflow_runs_what_ci_runs_with_read_access_only() -> None:
    # `on` is a truth value in YAML 1.1, which this library reads; GitHub does not.
    workflow = yaml.load(read(".github/workflows/ci.yml"), Loader=yaml.BaseLoader)
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["test"]["steps"]
    assert {"run": ".ci/run"} in steps
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
    oldest = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    assert oldest in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]


# The glossary


def test_the_glossary_explains_each_word_once() -> None:
    words = re.findall(r"^\| (\*\*.+?\*\*) \| \S", read("docs/glossary.md"), re.MULTILINE)
    single = [word for entry in words for word in re.findall(r"\*\*(.+?)\*\*", entry)]
    assert len(single) == len(set(single))
    assert len(single) >= 40
