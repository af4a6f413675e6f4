"""A PostgreSQL server of its own for a benchmark: files in a folder on a disk, durable, reached through a socket there.

Left out where PostgreSQL is not installed.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 60
_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777
max_connections = 100
shared_buffers = 256MB
max_wal_size = 2GB
"""


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest that is installed; Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        found = [Path(path) for path in [shutil.which("postgres")] if path]
    return found[-1].resolve().parent if found else None


@contextmanager
def serving(within: Path) -> Iterator[str]:
    """A server in a new folder in `within`; yields the URL of an empty database. Raises RuntimeError."""
    where = programs()
    if where is None:
        raise RuntimeError("PostgreSQL is not installed")
    user = "nobody" if os.geteuid() == 0 else None  # it does not run as root
    folder = within / "postgresql"
    folder.mkdir(mode=0o711)
    if user is not None:
        shutil.chown(folder, user)
        within.chmod(0o711)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

    def run(program: str, *arguments: str | Path) -> int:
        command = [str(where / program), *map(str, arguments)]
        quiet = subprocess.DEVNULL
        return subprocess.run(command, check=False, stdout=quiet, user=user, cwd=folder, env=environ).returncode

    data = folder / "data"
    if run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"):
        raise RuntimeError("PostgreSQL could not make a database")
    with (data / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION.format(folder=folder))
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [where / "postgres", "-D", data], stdout=log, stderr=log, user=user, cwd=folder, env=environ
        )
    try:
        ends = time.monotonic() + START_S
        while run("pg_isready", "-q", "-h", folder, "-U", "postgres"):
            if server.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        run("createdb", "-h", folder, "-U", "postgres", "bench")
        yield f"postgresql+psycopg://postgres@/bench?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown
        server.wait(START_S)
