"""Logging: one line a record, as text or as JSON, and nothing in it that lets somebody in.

A JSON line has `at` (UTC), `level`, `logger`, `message`, `request` (the id of the request in hand), whatever was
handed over as `extra`, and `error` where there was one. What looks like a secret is taken out of every line, wherever
it came from: a log is read by more people than may sign in.
"""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)
LEVELS = ("debug", "info", "warning", "error")
HIDDEN = "[hidden]"
REQUEST: ContextVar[str] = ContextVar("request", default="")  # id of the request in hand; every line of it has it

_NOISY = ("alembic", "asyncio", "pymodbus", "uvicorn")

# Bearer tokens and sessions of ours, what stands in an Authorization header, passwords in a URL, typed tokens, and
# what is said to be a secret.
_SECRETS = re.compile(
    r"\bop[a-z]?_[A-Za-z0-9_-]{20,}"
    r"|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<!\d)\d{4}(?:[ -]?\d{4}){4}(?!\d)"
    r"|(?i:\b(?:passphrase|password|secret|totp|pin)\b[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|\S+)"
)
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def without_secrets(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    return _SECRETS.sub(HIDDEN, text)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = without_secrets(super().format(record))
        return f"{text} [request {REQUEST.get()}]" if REQUEST.get() else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        if REQUEST.get():
            line["request"] = REQUEST.get()
        for name, value in vars(record).items():
            if name not in _OWN:
                line[name] = value if isinstance(value, int | float | None) else without_secrets(str(value))
        if record.exc_info:
            line["error"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up(form: str = TEXT, level: str = "info", stream: TextIO | None = None) -> logging.Handler:
    """Send all logging to `stream` (default: standard error) in this form; returns the handler, for tests to remove."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == JSON else _Text())
    root = logging.getLogger()
    for before in list(root.handlers):
        root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return handler
