"""What the interpreter's own objects have: names that an image may not give to its own things.

The real MicroPython tells: the types of its modules, and the objects behind no type that one can name.
"""

import functools
import json
import subprocess
from pathlib import Path

_PROGRAM = """
import asyncio, builtins, collections, hashlib, io, json, os, select, socket, struct, sys, tls
found = set()
for module in (builtins, asyncio.core, collections, hashlib, io, os, select, socket, sys, tls):
    for name in dir(module):
        one = getattr(module, name)
        if isinstance(one, type):
            found |= set(dir(one))
def generator():
    yield
made = [asyncio.Event, asyncio.Lock, asyncio.StreamReader, asyncio.ThreadSafeFlag, asyncio.Task, asyncio.current_task]
made += [select.poll(), open("/dev/null"), open("/dev/null", "rb"), generator(), memoryview(b"")]
for one in made + [asyncio.start_server, socket.socket(), {}.items(), OSError(), StopIteration(), range(1)]:
    found |= set(dir(one))
print(json.dumps(sorted(found)))
"""

# No object to ask on the desk, or no answer there: a TLS connection, exceptions, a block device, time stamps of files.
_NAMES = (
    {"read", "readinto", "readline", "write", "close", "setblocking", "settimeout", "ioctl", "fileno", "makefile"}
    | {"cipher", "getpeercert", "wrap_socket", "load_verify_locations", "load_cert_chain", "verify_mode"}
    | {"cancel", "done", "args", "errno", "value", "send", "throw", "readblocks", "writeblocks", "mount", "umount"}
)


class NotTold(RuntimeError):
    """The interpreter did not run; the text is what it said."""


@functools.cache
def names(micropython: Path) -> frozenset[str]:
    """Attributes of whatever MicroPython itself makes."""
    done = subprocess.run([micropython, "-c", _PROGRAM], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotTold(f"{micropython} does not tell what it has: {done.stdout}{done.stderr}")
    return frozenset(json.loads(done.stdout)) | _NAMES
