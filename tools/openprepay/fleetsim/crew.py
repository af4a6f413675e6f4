"""The flocks of a fleet, in processes of their own or in this one: all live a round at the same time.

While they live it, this process does its own work: `begin` hands out a round, `end` gathers what was said.
"""

import gc
import resource
from collections.abc import Iterable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol

from openprepay.fleetsim.flock import Cut, Flock, Held, Mail, Said
from openprepay.fleetsim.loads import Peak
from openprepay.fleetsim.setting import Setting
from openprepay.simcheck.verifier import fast

_STOP_S = 10.0


class _Team(Protocol):
    def begin(self, name: str, *arguments: Any) -> None: ...

    def end(self) -> Any: ...

    def stop(self) -> None: ...


class CrewLost(RuntimeError):
    """A process with meters has ended."""


class Crew:
    """All meters. records: number -> provisioning record."""

    def __init__(self, setting: Setting, records: dict[int, bytes], peak: Peak, folder: str | None = None) -> None:
        self._of = {number: at % setting.processes for at, number in enumerate(sorted(records))}
        shares: list[dict[int, bytes]] = [{} for _ in range(setting.processes)]
        for number, at in self._of.items():
            shares[at][number] = records[number]
        make = _Here if setting.processes == 1 else _Process
        self._teams: list[_Team] = [make(setting, share, peak, folder) for share in shares]
        for team in self._teams:
            team.end()

    def begin(
        self,
        now_s: int,
        mail: Iterable[Mail] = (),
        cuts: Iterable[Cut] = (),
        connected: Iterable[int] = (),
        lost: Iterable[int] = (),
    ) -> None:
        """Let all live up to `now_s`; see `Flock.live`."""
        for team, *share in zip(self._teams, *map(self._split, (mail, cuts, connected, lost)), strict=True):
            team.begin("live", now_s, *share)

    def end(self) -> list[Said]:
        """What was said in the round that was begun."""
        return [said for team in self._teams for said in team.end()]

    def held(self, from_s: int, to_s: int) -> dict[int, Held]:
        """See `Flock.held`."""
        return {held.meter: held for held in self._ask("held", from_s, to_s)}

    def memory(self) -> tuple[int, int]:
        """(bytes of memory that the processes of the meters take, bytes that the flashes take on the disk)."""
        found = [self._one(team, "memory") for team in self._teams]
        return sum(ram for ram, _ in found), sum(disk for _, disk in found)

    def stop(self) -> None:
        """Let all go."""
        for team in self._teams:
            team.stop()

    def _split(self, items: Iterable[Any]) -> list[list[Any]]:
        shares: list[list[Any]] = [[] for _ in self._teams]
        for item in items:
            shares[self._of[item if isinstance(item, int) else item.meter]].append(item)
        return shares

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        for team in self._teams:
            team.begin(name, *arguments)
        return [item for team in self._teams for item in team.end()]

    @staticmethod
    def _one(team: _Team, name: str) -> Any:
        team.begin(name)
        return team.end()


class _Here:
    """The flock in this process."""

    def __init__(self, *arguments: Any) -> None:
        with fast():
            self._flock = Flock(*arguments)
        self._found: Any = None

    def begin(self, name: str, *arguments: Any) -> None:
        with fast():
            self._found = _do(self._flock, name, arguments)

    def end(self) -> Any:
        return self._found

    def stop(self) -> None:
        self._flock.close()


class _Process:
    """The flock in a process of its own."""

    def __init__(self, *arguments: Any) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, name: str, *arguments: Any) -> None:
        self._pipe.send((name, arguments))

    def end(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise CrewLost("a process with meters has ended") from error

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, arguments: Sequence[Any]) -> None:
    with fast():
        flock = Flock(*arguments)
        pipe.send(None)
        while True:
            try:
                name, given = pipe.recv()
            except (EOFError, KeyboardInterrupt):
                return
            pipe.send(_do(flock, name, given))


def _do(flock: Flock, name: str, arguments: Sequence[Any]) -> Any:
    return memory(flock) if name == "memory" else getattr(flock, name)(*arguments)


def memory(flock: Flock) -> tuple[int, int]:
    """(resident bytes of this process, bytes of the flashes on the disk)."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize(), flock.disk_bytes()
