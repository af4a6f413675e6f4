"""A meter as a child process: the compiled firmware under real MicroPython with a bounded heap, or its sources under
CPython."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from metersim import build
from metersim.board import VirtualBoard
from metersim.world import REPLY_LIMIT_S, World

DEFAULT_HEAP = "512K"
BOOT = "meter.boards.unix_boot"
FRONT = "meter.boards.unix_front"
RESTART = 85  # its exit code


class ChildError(RuntimeError):
    """The meter's process did not come up or has ended; the text holds its last words."""


class ChildMeter:
    """Firmware in a process of its own (MicroPython, or CPython with micropython=False), its physics in this one.

    board: the physics · folder: where flash image, provisioning record and console output lie (the record is removed
    as soon as the meter has taken it) · record: provisioning record · serial, service: pty paths for Modbus RTU, of
    the bus and of the service port · tcp: HOST:PORT to serve Modbus TCP · mqtt: HOST:PORT of the broker, with tls =
    {"ca": …, "cert": …, "key": …, "server": …} · heap: as MicroPython's -X heapsize= · orders: given to the meter over
    its local port at the first start · on_second: see `World` ·
    slots: start through the boot stage, with two places for images in a file · front: TCP port of who stands before its
    panel, see `meter.boards.unix_front`.
    """

    def __init__(
        self,
        board: VirtualBoard,
        folder: Path | None = None,
        record: bytes | None = None,
        speed: int = 1,
        unit: int = 1,
        baud: int = 9600,
        serial: str | None = None,
        service: str | None = None,
        tcp: str | None = None,
        mqtt: str | None = None,
        tls: dict[str, str] | None = None,
        heap: str = DEFAULT_HEAP,
        replay_ms: int | None = None,
        micropython: bool = True,
        orders: list[bytes] | None = None,
        on_second: Callable[[VirtualBoard], None] | None = None,
        slots: bool = False,
        front: int | None = None,
    ) -> None:
        self.board = board
        self.folder = folder or Path(tempfile.mkdtemp(prefix="openprepay-meter-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.speed = speed
        self._record = record
        self._heap = heap
        self._micropython = micropython
        self._orders = orders or []
        self._on_second = on_second
        self._slots = slots
        self._entry = FRONT if front else build.ENTRY
        self._options = {
            "unit": unit,
            "baud": baud,
            "serial": serial,
            "service": service,
            "tcp": tcp,
            "mqtt": mqtt,
            "replay_ms": replay_ms,
            "front": front,
            **(tls or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.world: World | None = None

    def start(self) -> None:
        """Boot; returns when the firmware has answered its first second. Raises ChildError with its last words
        otherwise."""
        command, environment = self._interpreter()
        world = World(self.board, self.speed, self._on_second, self._slots)
        # Names in its own folder: MicroPython takes no argument of over 255 bytes.
        options = dict(self._options, world=world.port, flash="flash.bin", witness=self.board.witness())
        provision = self.folder / "provision.bin"
        if self._record is not None:
            provision.touch(mode=0o600)
            provision.write_bytes(self._record)
            options["provision"] = provision.name
        for number, order in enumerate(self._orders):
            (self.folder / f"order-{number}.bin").write_bytes(order)
            options["orders"] = "."
        arguments = [f"{name}={value}" for name, value in options.items() if value is not None]
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                command + arguments,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", ""), **environment},
                cwd=self.folder,
                start_new_session=self._slots,
            )
        self.world = world
        world.start()
        until = time.monotonic() + REPLY_LIMIT_S
        while not world.booted.wait(0.05):
            if self._process.poll() is not None or not world.is_alive() or time.monotonic() > until:
                self.stop()
                provision.unlink(missing_ok=True)
                raise ChildError(f"the meter did not boot: {self.console()[-2000:]}")
        provision.unlink(missing_ok=True)
        self._record = None
        self._orders = []

    def _interpreter(self) -> tuple[list[str], dict[str, str]]:
        """The command that runs the firmware's main module, and the environment that it needs."""
        main = ["-m", self._entry]
        if self._micropython:
            command = [str(build.program("micropython")), "-X", f"heapsize={self._heap}"]
            if not self._slots:
                return [*command, *main], {"MICROPYPATH": f"{build.build(entry=self._entry)}:.frozen"}
            # A reset of the processor: the boot stage asks for it by its exit code.
            again = ["sh", "-c", f'while "$@"; test $? -eq {RESTART}; do :; done', "meter"]
            (self.folder / "app").unlink(missing_ok=True)
            (self.folder / "app").symlink_to(build.build())
            boot = ["-m", "meter.boards.unix_boot", "app=app", "slots=slots.bin"]
            return [*again, *command, *boot], {"MICROPYPATH": f"{build.build(entry=BOOT)}:.frozen"}
        folders = [str(build.package_folder(package).parent) for package in ("meterlink", "meter")]
        return [sys.executable, *main], {"PYTHONPATH": os.pathsep.join(folders), "PYTHONUNBUFFERED": "1"}

    def console(self) -> str:
        """What the firmware printed so far."""
        path = self.folder / "console.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return build.readable(text, build.build(entry=self._entry)) if text and self._micropython else text

    def check(self) -> None:
        """Raise ChildError where the meter no longer runs."""
        if self._process is None or self._process.poll() is not None or self.world is None or not self.world.is_alive():
            reason = self.world.error if self.world else None
            raise ChildError(f"the meter has ended ({reason}): {self.console()[-2000:]}")

    def stop(self) -> None:
        """Pull the plug: the process is killed wherever it is; flash image and board stay."""
        if self._process is not None:
            if self._slots:  # the shell and what it has started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
        if self.world is not None:
            self.world.stop()
            self.world = None

    def power_cycle(self, outage_s: int = 0) -> None:
        """Mains fails without warning for `outage_s` virtual seconds, then the firmware boots from the same flash."""
        self.stop()
        self.board.lose_power()
        self.board.true_s += outage_s
        self.board.restore_power()
        self.start()

    def __enter__(self) -> "ChildMeter":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
