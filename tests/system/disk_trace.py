"""What processes wrote to files and said on sockets, in one order, as strace(1) saw it.

`command(out)` goes in front of what is to be watched, or `attach(out, pids)` beside what runs; `read(path)` gives the
calls. A call has a `begin` and an `end`, line numbers of the trace: what ended before another began happened before it.
"""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import needs

WRITES = ("write", "pwrite64", "writev", "pwritev")
SAYS = ("sendto", "sendmsg")
HEARS = ("recvfrom", "recvmsg")
SYNCS = ("fsync", "fdatasync")
NAMES = ("openat", "open", "creat", "rename", "renameat", "renameat2", "unlink", "unlinkat")
_CALLS = (*WRITES, *SAYS, *HEARS, *SYNCS, *NAMES, "ftruncate")
_MOST = 1 << 20  # bytes shown of a string


def command(out: Path) -> list[str]:
    """Words that go before a command, which keeps its process id; all its threads and children are watched."""
    # fmt: off
    return [
        needs.program("strace"), "-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(_MOST), "-o", str(out),
        "-e", "trace=" + ",".join(_CALLS),
    ]
    # fmt: on


def attach(out: Path, pids: tuple[int, ...]) -> list[str]:
    """A command that watches processes which run, with all their threads and the children that they will have."""
    words = [word for word in command(out) if word not in ("-D", "--seccomp-bpf")]
    return [*words, *(part for pid in pids for part in ("-p", str(pid)))]


@dataclass(frozen=True)
class Call:
    """One that went well.

    `place`: path of the file, or socket:[n] · `offset`: None where the file's own position counts · `to`: the new name,
    of a renaming · `flags`: of an opening.
    """

    begin: int
    end: int
    name: str
    place: str
    data: bytes = b""
    offset: int | None = None
    to: str = ""
    flags: str = ""


_LINE = re.compile(r"(\d+) +(.*)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?", re.DOTALL)
_FD = re.compile(r"-?\d+<([^>]*)>(\(deleted\))?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def ended(path: Path, pid: int) -> bool:
    """Whether the trace has come to the end of that process. What ends after it may write a lot behind that line."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return re.search(rb"^%d +\+\+\+ " % pid, text, re.MULTILINE) is not None


def read(path: Path) -> Iterator[Call]:
    """The calls, each when it ends."""
    begun: dict[str, tuple[int, str]] = {}
    with path.open() as lines:
        for number, line in enumerate(lines):
            found = _LINE.match(line)
            if found is None:
                continue
            pid, text = found[1], found[2]
            begin = number
            if text.endswith(_UNFINISHED):
                begun[pid] = number, text.removesuffix(_UNFINISHED)
                continue
            resumed = _RESUMED.match(text)
            if resumed is not None:
                if pid not in begun:  # it began before the trace did
                    continue
                begin, head = begun.pop(pid)
                text = head + resumed[2]
            call = _understand(text, begin, number)
            if call is not None:
                yield call


def _understand(text: str, begin: int, end: int) -> Call | None:
    found = _CALL.match(text)
    if found is None or int(found[3]) < 0:
        return None
    name, arguments, result = found[1], found[2], int(found[3])
    if name in NAMES:
        return _naming(name, arguments, found[4] or "", begin, end)
    file = _FD.match(arguments)
    if file is None:
        return None
    place = "" if file[2] else _text(file[1])
    data, offset = b"", None
    if name in (*WRITES, *SAYS, *HEARS):
        data = b"".join(_bytes(part[1]) for part in _STRING.finditer(arguments))[:result]
    if name in ("pwrite64", "pwritev", "ftruncate"):
        offset = int(arguments.rpartition(",")[2])
    return Call(begin, end, name, place, data, offset)


def _naming(name: str, arguments: str, opened: str, begin: int, end: int) -> Call:
    names = [_text(part[1]) for part in _STRING.finditer(arguments)]
    if name in ("openat", "open", "creat"):
        return Call(begin, end, "open", _text(opened), flags=arguments)
    if name.startswith("rename"):
        return Call(begin, end, "rename", names[0], to=names[1])
    return Call(begin, end, "unlink", names[0])


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _text(escaped: str) -> str:
    return _bytes(escaped).decode() if escaped.startswith("\\x") else escaped
