"""Run a command as an account that PostgreSQL accepts, for it refuses root, and let it end with its parent."""

import os
import pwd
import shutil
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple


class Account(NamedTuple):
    """An account without rights of its own."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Make the path this account's."""
        os.chown(path, self.uid, self.gid)


def unprivileged_account(cluster: Path) -> Account | None:
    """Return the account that runs the server of a cluster, or None for the present one, which is not root."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(f"account {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise PermissionError("PostgreSQL refuses to run as root, and there is no account postgres or nobody: create one")


@contextmanager
def socket_directory(guard: Path, account: Account | None) -> Generator[Path]:
    """Make, for a while, a directory for the account alone, below a directory of ours that others may only pass."""
    with suppress(FileExistsError):
        guard.mkdir(mode=0o700)
    status = guard.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{guard} is not a directory of this account: remove it, and start again")
    guard.chmod(0o711 if account else 0o700)
    sockets = guard / "socket"
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir(mode=0o700)
    if account:
        account.own(sockets)
    try:
        yield sockets
    finally:
        shutil.rmtree(guard, ignore_errors=True)


def become(account: Account | None, paths: Sequence[Path], sockets: Path) -> list[str]:
    """Return the words before a command that make it run as the account, able to reach the paths and the sockets."""
    if account is None:
        return []
    setpriv = _setpriv()
    if setpriv is None:
        raise PermissionError("PostgreSQL refuses to run as root: install setpriv (util-linux), or use another account")
    words = [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    barrier = next((found for path in (*paths, sockets) if (found := _barrier(account, path))), None)
    if barrier:
        # Below a private directory the server gets the one capability that lets it pass. It then can read what the
        # account could not, so the way to its socket closes to everyone else.
        capability = _passing_capability(account, barrier)
        sockets.parent.chmod(0o700)
        words += [f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}"]
        # The programs check themselves with access(2), which only then takes the capability into account.
        words += ["--securebits=+no_setuid_fixup"]
    return [*words, "--"]


def end_with_parent(command: list[str], signal_name: str = "TERM") -> list[str]:
    """Return the command that also receives the signal when the thread that starts it ends, where Linux can do that."""
    setpriv = _setpriv()
    return [setpriv, "--pdeathsig", signal_name, "--", *command] if setpriv else command


def _setpriv() -> str | None:
    found = shutil.which("setpriv")
    # BusyBox has a setpriv that knows neither accounts nor the parent's death.
    return None if found is None or Path(found).resolve().name == "busybox" else found


def _barrier(account: Account, path: Path) -> Path | None:
    for directory in reversed(path.parents):
        status = directory.stat()
        is_owner, is_group = status.st_uid == account.uid, status.st_gid == account.gid
        bit = stat.S_IXUSR if is_owner else stat.S_IXGRP if is_group else stat.S_IXOTH
        if not status.st_mode & bit:
            return directory
    return None


def _passing_capability(account: Account, barrier: Path) -> str:
    with suppress(OSError):
        bounding = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
        for bit, name in ((2, "dac_read_search"), (1, "dac_override")):
            if bounding >> bit & 1:
                return name
    raise PermissionError(
        f"PostgreSQL must run as {account.name}, not as root, and {account.name} cannot enter {barrier}: "
        "move the data and the Python environment elsewhere, or run as an ordinary user",
    )
