"""A disk that forgets, at a power cut, what was written and not synced: made of what a program did (`disk_trace`).

What is certain is what fsync(2) or fdatasync(2) had made so before the cut: of a file what was written before the sync
began, of a folder the names. Anything else may be there, in part or not at all, whatever its order; a write may be torn
at any 512 bytes. (Real file systems forget less; what is right on this one is right on each of them.)
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.system.disk_trace import SYNCS, WRITES, Call

SECTOR = 512


class File:
    def __init__(self, certain: bytes) -> None:
        self.certain = bytearray(certain)
        self.pending: list[tuple[int, Callable[[bytearray], None], Callable[[bytearray, random.Random], None]]] = []
        self.size = len(certain)  # as the program sees it

    def write(self, end: int, offset: int, data: bytes) -> None:
        self.size = max(self.size, offset + len(data))
        self.pending.append((end, lambda on: _put(on, offset, data), lambda on, dice: _tear(on, offset, data, dice)))

    def truncate(self, end: int, size: int) -> None:
        self.size = size
        self.pending.append((end, lambda on: _cut(on, size), lambda on, dice: _cut(on, size)))

    def sync(self, begin: int) -> None:
        """What had ended when the sync began is certain now."""
        for end, apply, _ in self.pending:
            if end < begin:
                apply(self.certain)
        self.pending = [one for one in self.pending if one[0] >= begin]

    def image(self, dice: random.Random | None) -> bytes:
        """What a cut leaves: by chance, or without `dice` nothing but what is certain."""
        left = bytearray(self.certain)
        if dice is not None:
            for _, _, tear in self.pending:
                if dice.random() < 0.5:
                    tear(left, dice)
        return bytes(left)


def _put(on: bytearray, offset: int, data: bytes) -> None:
    if len(on) < offset:
        on.extend(bytes(offset - len(on)))
    on[offset : offset + len(data)] = data


def _cut(on: bytearray, size: int) -> None:
    on.extend(bytes(max(0, size - len(on))))
    del on[size:]


def _tear(on: bytearray, offset: int, data: bytes, dice: random.Random) -> None:
    """Some of its sectors, each by chance; or all of it."""
    if dice.random() < 0.5:
        _put(on, offset, data)
        return
    at = 0
    while at < len(data):
        to = min(len(data), at + SECTOR - (offset + at) % SECTOR)
        if dice.random() < 0.5:
            _put(on, offset + at, data[at:to])
        at = to


class Disk:
    """The files below `root` that `follows(path)`; their content now is certain. `folder`: where relative names start.

    `take(call)`: in the order in which the calls ended.
    """

    def __init__(self, root: Path, follows: Callable[[str], bool], folder: Path | None = None) -> None:
        self._root = str(root)
        self._folder = str(folder or root)
        self._follows = follows
        self._now: dict[str, File] = {}
        self._certain: dict[str, File] = {}  # by the names that are synced
        self._naming: list[tuple[int, str, File | None]] = []  # (end, name, what is there from then on)
        self._at: dict[str, int | None] = {}  # position in a file; None: it is appended to
        self._folders: list[str] = []
        for inside, _, names in os.walk(str(root)):
            self._folders.append(os.path.relpath(inside, root))
            for name in names:
                path = os.path.join(inside, name)
                if self._mine(path):
                    self._now[path] = self._certain[path] = File(Path(path).read_bytes())

    def take(self, call: Call) -> None:
        place = os.path.join(self._folder, call.place)
        if not call.place or not self._mine(place):
            if call.name in SYNCS and place.startswith(self._root):
                self._sync_names(call.begin, place)
            return
        if call.name == "open":
            self._open(call, place)
        elif call.name == "rename":
            self._rename(call.end, place, os.path.join(self._folder, call.to))
        elif call.name == "unlink":
            self._name(call.end, place, None)
        elif call.name in SYNCS:
            file = self._now.get(place)
            if file is None:
                self._sync_names(call.begin, place)
            else:
                file.sync(call.begin)
        elif call.name == "ftruncate" and call.offset is not None:
            self._file(call.end, place).truncate(call.end, call.offset)
        elif call.name in WRITES:
            self._write(call, place)

    def image(self, folder: Path, dice: random.Random | None = None) -> None:
        """Lay down in `folder` what a cut now leaves; without `dice`, the least that it can leave."""
        left = dict(self._certain)
        for _, name, file in self._naming:
            if dice is not None and dice.random() < 0.5:
                _set(left, name, file)
        for name in self._folders:  # empty ones too; the making of a folder is not followed
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path, file in left.items():
            at = folder / os.path.relpath(path, self._root)
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(file.image(dice))

    def _mine(self, path: str) -> bool:
        return path.startswith(self._root + "/") and self._follows(path)

    def _file(self, end: int, path: str) -> File:
        if path not in self._now:
            self._name(end, path, File(b""))
        return self._now[path]

    def _open(self, call: Call, path: str) -> None:
        if "O_RDONLY" in call.flags or "O_DIRECTORY" in call.flags:
            return
        if "O_CREAT" in call.flags or path in self._now:
            file = self._file(call.end, path)
            self._at[path] = None if "O_APPEND" in call.flags else 0
            if "O_TRUNC" in call.flags:
                file.truncate(call.end, 0)

    def _write(self, call: Call, path: str) -> None:
        file = self._file(call.end, path)
        offset = call.offset
        if offset is None:
            at = self._at.get(path)
            offset = file.size if at is None else at
            if at is not None:
                self._at[path] = at + len(call.data)
        file.write(call.end, offset, call.data)

    def _rename(self, end: int, path: str, to: str) -> None:
        file = self._now.get(path)
        self._name(end, path, None)
        if file is not None:
            self._name(end, to, file)

    def _name(self, end: int, path: str, file: File | None) -> None:
        _set(self._now, path, file)
        self._naming.append((end, path, file))

    def _sync_names(self, begin: int, folder: str) -> None:
        kept = []
        for end, name, file in self._naming:
            if end < begin and os.path.dirname(name) == folder.rstrip("/"):
                _set(self._certain, name, file)
            else:
                kept.append((end, name, file))
        self._naming = kept


def _set(names: dict[str, File], name: str, file: File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file
