"""What a database has to offer beneath a `Store`. There are two: `sqlite.Sqlite` and `postgres.Postgres`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from headend.store.jobs import Job, Lane
from headend.store.writer import More


class Port(ABC):
    """Where two databases differ: how connections are set up, how writes are grouped and run again, whose clock."""

    writes: Engine
    shared: bool  # one connection is the whole database
    across_machines: bool  # workers on several machines may share it: then its clock is the one that counts
    reach: Sequence[Lane]  # of each thread that writes, the least urgent lane that it serves

    def serve(self) -> None:  # noqa: B027 - most have nothing to do
        """Threads are going to write: what goes on beside them begins."""

    @abstractmethod
    def run(self, first: Job, more: More) -> None:
        """Run a job, and others that `more` gives, each as a transaction of its own or part of one; settle them."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that cannot write, in a transaction that sees one moment of the database."""

    @abstractmethod
    def lost(self, error: DBAPIError) -> bool:
        """Whether a read met a connection that is gone; the next one gets a new one."""

    @abstractmethod
    def alone(self, conn: Connection) -> None:
        """Wait until no other process brings this database up to date; holds until the transaction ends."""

    @abstractmethod
    def check(self) -> None:
        """Raise Refused where the database would answer a COMMIT before it is on disk."""

    @abstractmethod
    def close(self) -> None: ...
