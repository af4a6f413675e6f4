"""The layout holds: imports go one way, the dispatcher stays lazy, and no file names a package registry's host."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import layout, needs

ROOT = Path(__file__).resolve().parent.parent

PLANTED = [
    ("protocol/meterlink/orders.py", "import meter", "meterlink must not import meter"),
    ("protocol/meterlink/orders.py", "from headend import keys", "meterlink must not import headend.keys"),
    ("protocol/meterlink/orders.py", "import hmac", "meterlink must not import hmac"),
    ("protocol/meterlink/sts/misty1.py", "def f():\n    from typing import Any", "meterlink must not import typing"),
    ("protocol/meterlink/ecdsa.py", "import cryptography.hazmat", "meterlink must not import cryptography.hazmat"),
    ("firmware/meter/core.py", "import asyncio", "meter must not import asyncio"),
    ("firmware/meter/core.py", "import time", "meter must not import time"),
    ("firmware/meter/core.py", "import os, random", "meter must not import random"),
    ("firmware/meter/core.py", "import struct, socket", "meter must not import socket"),
    ("firmware/meter/core.py", "from meter import shell", "the core imports meter.shell"),
    ("firmware/meter/core.py", "from .drivers.relay import Relay", "the core imports meter.drivers.relay.Relay"),
    ("firmware/meter/core.py", "__import__('time')", "meter must not import time"),
    ("firmware/meter/shell/tasks.py", "import dataclasses", "meter.shell must not import dataclasses"),
    (
        "firmware/meter/shell/tasks.py",
        "from ..boards import unix\nimport headend",
        "meter.shell must not import headend",
    ),
    ("simulator/metersim/board.py", "from headend.ledger import post", "metersim must not import headend.ledger.post"),
    ("simulator/metersim/board.py", "import sqlalchemy", "metersim must not import sqlalchemy"),
    ("simulator/metersim/board.py", "import numpy", "metersim must not import numpy"),
    ("host/headend/orders/gate.py", "from meter.core import Meter", "headend must not import meter.core.Meter"),
    (
        "host/headend/orders/gate.py",
        "import importlib\nimportlib.import_module('metersim')",
        "must not import metersim",
    ),
    ("tools/fieldtool/cli.py", "from headend import store", "fieldtool must not import headend.store"),
]

ALLOWED = [
    ("protocol/meterlink/orders.py", "import struct, hashlib\nfrom meterlink import results\nfrom . import topics"),
    (
        "firmware/meter/core.py",
        "from meterlink.orders import decode\nfrom . import credit\nfrom meter.supply import Supply",
    ),
    (
        "firmware/meter/shell/tasks.py",
        "import asyncio, time\nfrom ..core import Meter\nfrom meter.drivers import relay",
    ),
    ("simulator/metersim/board.py", "from meter.core import Meter\nimport meterlink, asyncio, demandlib.bdew"),
    ("host/headend/links/mqtt.py", "import paho.mqtt.client, sqlite3\nfrom ..store import schema\nimport meterlink"),
    ("tools/fieldtool/cli.py", "import serial\nfrom headend import links\nfrom headend.links.modbus import Line"),
    ("tools/openprepay/demo.py", "import metersim, headend.store, fieldtool, amqtt"),
]


def test_imports_go_one_way() -> None:
    """No file of the project breaks a rule."""
    assert layout.check(ROOT) == []


@pytest.mark.parametrize(("path", "source", "sentence"), PLANTED)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, source: str, sentence: str) -> None:
    plant(tmp_path, path, source)
    found = layout.check(tmp_path)
    assert any(sentence in refusal for refusal in found), found
    assert all(refusal.startswith(f"{path}:") for refusal in found)


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_is_allowed_passes(tmp_path: Path, path: str, source: str) -> None:
    plant(tmp_path, path, source)
    assert layout.check(tmp_path) == []


def test_every_code_folder_has_a_rule() -> None:
    """No package stands beside the ones that the table knows, so nothing escapes it."""
    tops = ("protocol", "firmware", "simulator", "host", "tools")
    packages = {str(init.parent.relative_to(ROOT)) for top in tops for init in ROOT.glob(f"{top}/*/__init__.py")}
    assert packages and packages <= set(layout.RULES)


def test_every_dependency_is_explained() -> None:
    """docs/dependencies.md says of each declared package why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[<>=!~\[ ]", text, maxsplit=1)[0] for group in declared for text in group} - {"openprepay"}
    explained = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}" not in explained] == []


def test_the_dispatcher_is_lazy() -> None:
    """`openprepay --help` and `--version` load the standard library and the dispatcher, nothing else."""
    heavy = layout.FIRST_PARTY | {"asyncio", "cryptography", "paho", "pymodbus", "serial", "sqlalchemy", "starlette"}
    code = (
        "import sys\n"
        "from openprepay import cli\n"
        "cli.main(['--help']); cli.main(['--version'])\n"
        "known = {m.partition('.')[0] for m in sys.modules}\n"
        f"print(sorted(known & {heavy}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tools")
    assert done.stdout.splitlines()[-1] == "['openprepay']"


def test_no_file_names_a_package_registry() -> None:
    """Packages are named, never the host that serves them: each machine has its own.

    The names are put together here so that this file passes too.
    """
    dot = "."
    hosts = [
        dot.join(parts)
        for parts in [
            ("pypi", "org"), ("pythonhosted", "org"), ("debian", "org", "debian"), ("deb", "debian", "org"),
            ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"), ("crates", "io"), ("golang", "org"),
        ]
    ]  # fmt: skip
    listed = subprocess.run(
        [needs.program("git"), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    assert len(files) > 20
    found = [(str(file), host) for file in files for host in hosts if host.encode() in file.read_bytes()]
    assert found == []


def plant(root: Path, path: str, source: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(source + "\n", encoding="utf-8")
