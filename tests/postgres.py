"""A real PostgreSQL from Debian for tests: `server()` is one per process, started when it is first asked for.

Its files lie in memory where the machine offers that: durability is on (`fsync`, `synchronous_commit`), and costs
nothing. `server().database()` makes an empty database with today's tables, from a template; its role is no superuser.
"""

import atexit
import itertools
import os
import secrets
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from headend.store import open_store
from tests import needs

_START_LIMIT_S = 60
_PREFIX = "op-pg-"
_CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777
max_connections = 300
shared_buffers = 32MB
max_wal_size = 256MB
min_wal_size = 64MB
autovacuum = off
jit = off
log_min_messages = warning
deadlock_timeout = 100ms
{extra}
"""


class Server:
    """A server of its own with its files in a folder of its own, reached through a socket there.

    `extra`: further lines of its configuration. `stop`, `start` and `kill` (as if power failed) keep the files.
    """

    def __init__(self, extra: str = "") -> None:
        programs = needs.postgresql()
        self._postgres = programs / "postgres"
        memory = Path("/dev/shm")
        within = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
        _remove_left(within)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=within))
        self.data = self.folder / "data"
        self._user = _user()
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.folder.chmod(0o711)
        subprocess.run(
            [programs / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self.folder,
            env=_environment(),
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(folder=self.folder, extra=extra))
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self.role = f"op_{secrets.token_hex(4)}"
        self.start()
        self._admin(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(self.role)))

    def start(self) -> None:
        command = ["setpriv", "--pdeathsig", "QUIT", self._postgres, "-D", self.data]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._user, cwd=self.folder, env=_environment()
            )
        ready = [self._postgres.parent / "pg_isready", "-q", "-h", self.folder, "-U", "postgres", "-d", "postgres"]
        for _ in range(_START_LIMIT_S * 20):
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            if subprocess.run(ready, check=False, env=_environment()).returncode == 0:
                return
            self._pause()
        raise RuntimeError("PostgreSQL did not start.\n" + (self.folder / "log").read_text())

    def _pause(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass

    def stop(self) -> None:
        """Connections are cut, nothing is lost."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: fast shutdown
            self._process.wait(_START_LIMIT_S)
            self._process = None

    def kill(self) -> None:
        """Every process of the server ends at once and cleans nothing up; `start` recovers from its log."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown
            self._process.wait(_START_LIMIT_S)
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def empty(self) -> str:
        """The URL of a new database without any table."""
        return self._made("template0")

    def database(self) -> str:
        """The URL of a new database with today's tables, and nothing in them."""
        return self._made(self._template())

    def drop(self, url: str) -> None:
        name = url.partition("?")[0].rpartition("/")[2]
        self._admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def set(self, name: str, value: str | None) -> None:
        """Change a setting of the running server, None: back to what its file says; returns once it is in force."""
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as conn:
            was = conn.execute("SELECT current_setting(%s)", (name,)).fetchone()
            to = sql.SQL("DEFAULT") if value is None else sql.Literal(value)
            conn.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), to))
            conn.execute("SELECT pg_reload_conf()")
            while conn.execute("SELECT current_setting(%s)", (name,)).fetchone() == was:
                self._pause()

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{self.role}@/{name}?host={self.folder}"

    @cache  # noqa: B019 - a server lives as long as the process
    def _template(self) -> str:
        url = self.empty()
        open_store(url, inline=True).close()
        return url.partition("?")[0].rpartition("/")[2]

    def _made(self, template: str) -> str:
        name = f"op_{next(self._names)}"
        command = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        self._admin(command.format(sql.Identifier(name), sql.Identifier(self.role), sql.Identifier(template)))
        return self.url(name)

    def _admin(self, command: sql.Composed) -> None:
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as conn:
            conn.execute(command)


@cache
def server() -> Server:
    """The one server of this process; it ends with it."""
    started = Server()
    atexit.register(started.remove)
    return started


def _remove_left(within: Path) -> None:
    """Of processes that were killed before they could remove it; their servers ended with them."""
    for folder in within.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """PostgreSQL does not run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
