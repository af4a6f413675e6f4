"""A pty as an RS-485 line: the meter opens one side, a master the other (by the link's path), like a serial port."""

import os
import pty
import tty
from pathlib import Path


class PtyLine:
    """Two ends of a pseudo terminal in raw mode, `link` pointing at the masters' end.

    A pty has a master and a slave side only; both ends here are slaves of two ptys joined by a pump, so that either
    side may be closed and opened again without the other noticing.
    """

    def __init__(self, link: Path) -> None:
        import threading

        self._fds = []
        names = []
        for _ in range(2):
            master, slave = pty.openpty()
            tty.setraw(slave)
            names.append(os.ttyname(slave))
            self._fds += [master, slave]
        self.meter_path = names[0]
        self.link = link
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(names[1])
        for source, target in ((self._fds[0], self._fds[2]), (self._fds[2], self._fds[0])):
            threading.Thread(target=_pump, args=(source, target), daemon=True, name="line").start()

    def close(self) -> None:
        """Take the link away and end the line."""
        if self.link.is_symlink():
            self.link.unlink()
        for fd in self._fds:
            try:
                os.close(fd)
            except OSError:
                pass
        self._fds = []


def _pump(source: int, target: int) -> None:
    while True:
        try:
            data = os.read(source, 256)
            if not data:
                return
            os.write(target, data)
        except OSError:
            return
