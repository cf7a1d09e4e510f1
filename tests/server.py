"""The PostgreSQL that the tests talk to."""

from __future__ import annotations

import gc
import os
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from service.embedded import EmbeddedServer


@contextmanager
def running_server() -> Generator[str]:
    """Yield the URL of a PostgreSQL: `TEST_DATABASE_URL`, else one in a container, else the embedded one."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
    elif _container_engine_answers():
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415  # starts a client when imported

        with PostgresContainer("postgres:17", driver=None) as container:
            yield _hurried(container.get_connection_url())
    else:
        with (
            tempfile.TemporaryDirectory(prefix="manage-orders-tests-") as directory,
            EmbeddedServer(Path(directory) / "data") as server,
        ):
            yield _hurried(server.url)


def _hurried(url: str) -> str:
    """Let a server that ends with the tests answer before the disk has what it says: a quarter of the time was that.

    Tests of what is left after a crash start a server of their own, which waits for the disk.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


def _container_engine_answers() -> bool:
    import docker  # noqa: PLC0415  # slow to import, and of use only here
    from docker.errors import DockerException  # noqa: PLC0415

    # The client leaves its socket open when nothing answers; collected here, that warns nobody.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            docker.from_env().close()
        except DockerException:
            return False
        finally:
            gc.collect()
    return True
