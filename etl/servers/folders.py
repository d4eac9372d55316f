"""The folder of one server: whose it is, who may pass through to it, and one starter at a time.

Neither PostgreSQL nor OpenSearch runs as root. Started by root, they run as `nobody` (or as the owner that the folder
already has), who must own the folder and be able to walk to it: its parents get the right to be passed through by
others, and no other right. Nobody can list or read them who could not before.
"""

import contextlib
import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from etl.errors import ConfigurationError, UnavailableError

_LOG_BYTES = 5_000_000


class Account(NamedTuple):
    """The system account that a server runs as."""

    uid: int
    gid: int


def server_folder(data_dir: Path, name: str) -> Path:
    """The folder of the server `name` in the data folder, which need not be there yet.

    Raises:
        ConfigurationError: no folder can be there: a part of the path is a file, or it is too long.
    """
    try:
        folder = data_dir.expanduser().resolve() / name
        with contextlib.suppress(FileNotFoundError, PermissionError):
            folder.stat()
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"ISSUETIDE_DATA_DIR {str(data_dir)[:200]} cannot be used ({reason}): name a folder of your own"
        ) from None
    return folder


def server_account(folder: Path) -> Account | None:
    """The account for the server of `folder`; None means: as the user who is running this.

    Raises:
        ConfigurationError: root runs this and the machine has no `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        owner = folder.stat(follow_symlinks=False)
    except FileNotFoundError:
        owner = None
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "local servers do not run as root and this machine has no account `nobody`: run as a plain user, "
            "or set DATABASE_URL and OPENSEARCH_URL to servers of your own"
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess.run` that start a program as `account`."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def prepare_folder(folder: Path, account: Account | None) -> None:
    """Make `folder` (with its parents), private to the server's account; called again, it changes nothing.

    Raises:
        ConfigurationError: the folder cannot be made, belongs to somebody else, or is a symbolic link.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Root gives this folder away: a link planted in a folder of somebody else could make it give away /etc.
        if folder.is_symlink():
            raise ConfigurationError(f"{folder} is a symbolic link: set ISSUETIDE_DATA_DIR to the folder it points to")
        if account is not None:
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)
            open_parents(folder, account)
        folder.chmod(0o700)
    except OSError as error:
        raise _unusable(folder, error) from None


def _unusable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the server folder {folder} cannot be used ({error.strerror}): run as its owner, "
        "or set ISSUETIDE_DATA_DIR to a folder of your own"
    )


def open_parents(path: Path, account: Account) -> None:
    """Let other accounts pass through the parents of `path` (o+x) that `account` does not own, and nothing else.

    Raises:
        ConfigurationError: a parent's mode cannot be changed.
    """
    for parent in path.resolve().parents:
        found = parent.stat()
        if found.st_uid == account.uid or found.st_mode & stat.S_IXOTH:
            continue
        try:
            parent.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
        except OSError as error:
            raise ConfigurationError(
                f"the account of the local servers cannot pass through {parent} ({error.strerror}): "
                f"chmod o+x {parent}, or use another folder"
            ) from None


@contextlib.contextmanager
def hold_lock(folder: Path, *, seconds: float) -> Iterator[None]:
    """Only one process at a time starts or stops the server of `folder`; the kernel frees the lock of a killed one.

    Raises:
        ConfigurationError: the folder belongs to somebody else.
        UnavailableError: another process has held it for `seconds`.
    """
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        if os.geteuid() == 0:  # a root who starts the server of somebody else must not lock its owner out
            owner = folder.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"another command has been starting or stopping the server in {folder} for {seconds:.0f} s: "
                        "wait for it, or end it, then try again"
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def rotate_log(log: Path) -> None:
    """Put a log that has grown beyond 5 MB aside (one old one is kept); done before each start."""
    if log.is_file() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(log.suffix + ".1"))


def read_log_since(log: Path, start: int) -> list[str]:
    """The non-empty lines of `log` from byte `start` on, at most the last 200,000 bytes of them."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(start, log.stat().st_size - 200_000))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]
