"""Writes ROMFS, the read-only file system of MicroPython (`vfs.VfsRom`), whose files run where they lie.

The format stands at the head of MicroPython's extmod/vfs_rom.c: nested records of a kind and a length, both numbers of
7 bits a byte, the highest first. A file system is a record whose kind makes the bytes D2 CD 31 ("RM1"), directories
and files carry their names, and whatever kind a reader does not know it skips.
"""

from collections.abc import Iterator, Mapping

_SYSTEM = 0x14A6B1
_PADDING = 1
_VERBATIM = 2
_DIRECTORY = 4
_FILE = 5

MAX_LENGTH = 1 << 20
_LENGTH_BYTES = 4  # of the outer length, always: what stands in it does not move where things lie


def number(value: int, least: int = 1) -> bytes:
    """A number in `least` bytes or more; leading 0x80 mean nothing."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    groups += [0x80] * (least - len(groups))
    return bytes(reversed(groups))


def record(kind: int, payload: bytes) -> bytes:
    """A record, whole."""
    return number(kind) + number(len(payload)) + payload


def file(name: str, content: bytes) -> bytes:
    """The record of a file; its content stands at its end."""
    raw = name.encode("ascii")
    return record(_FILE, number(len(raw)) + raw + record(_VERBATIM, content))


def directory(name: str, content: bytes) -> bytes:
    """The record of a directory that holds the records `content`."""
    raw = name.encode("ascii")
    return record(_DIRECTORY, number(len(raw)) + raw + content)


def tree(files: Mapping[str, bytes]) -> bytes:
    """The records of files by path ("meter/core.mpy"), each directory once, in the order of the alphabet."""
    here: dict[str, bytes] = {}
    below: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        top, _, rest = path.partition("/")
        if rest:
            below.setdefault(top, {})[rest] = content
        else:
            here[top] = content
    records = {name: file(name, content) for name, content in here.items()}
    records |= {name: directory(name, tree(inside)) for name, inside in below.items()}
    return b"".join(records[name] for name in sorted(records))


def image(files: Mapping[str, bytes], last: tuple[str, bytes], unit: int) -> bytes:
    """A file system whose last file is `last`, so that its content ends the image, of a multiple of `unit` bytes."""
    body = tree(files)
    tail = file(*last)
    head = len(number(_SYSTEM)) + _LENGTH_BYTES
    missing = -(head + len(body) + len(tail)) % unit
    if missing == 1:  # a padding record has two bytes at least
        missing += unit
    if missing:
        body += record(_PADDING, bytes(missing - 2))
    payload = body + tail
    if len(payload) > MAX_LENGTH:
        raise ValueError(f"ROMFS: {len(payload)} bytes given, at most {MAX_LENGTH} expected")
    return number(_SYSTEM) + number(len(payload), _LENGTH_BYTES) + payload


def read(raw: bytes) -> dict[str, bytes]:
    """The files of an image by path; ValueError where it is none, or is damaged. What lies behind it is not read."""
    kind, payload, _ = _next(raw, 0)
    if kind != _SYSTEM:
        raise ValueError(f"ROMFS: kind {kind:#x} given, {_SYSTEM:#x} expected")
    return dict(_walk(payload, ""))


def _walk(payload: bytes, above: str) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(payload):
        kind, content, at = _next(payload, at)
        if kind not in (_DIRECTORY, _FILE):
            continue
        length, start = _number(content, 0)
        name = above + content[start : start + length].decode("ascii")
        inside = content[start + length :]
        if kind == _DIRECTORY:
            yield from _walk(inside, f"{name}/")
            continue
        kind, found, _ = _next(inside, 0)
        if kind != _VERBATIM:
            raise ValueError(f"ROMFS: {name}: record of kind {kind} given, {_VERBATIM} expected")
        yield name, found


def _next(raw: bytes, at: int) -> tuple[int, bytes, int]:
    """(kind, payload, where the next one begins) of the record at `at`."""
    kind, at = _number(raw, at)
    length, at = _number(raw, at)
    if at + length > len(raw):
        raise ValueError(f"ROMFS: a record of {length} bytes given, {len(raw) - at} are there")
    return kind, raw[at : at + length], at + length


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    while at < len(raw):
        value = value << 7 | raw[at] & 0x7F
        at += 1
        if not raw[at - 1] & 0x80:
            return value, at
    raise ValueError("ROMFS: it ends within a number")
