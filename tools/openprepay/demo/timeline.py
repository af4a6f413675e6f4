"""The timeline: facts for people, one a line, and for programs in trace.jsonl.

A fact says when (by the meter's clock where a meter said it), which meter, what, and where it was read from. A
*confirmed* fact is one that a report proves which answers a question of ours; its bytes go into the trace, so that
`recheck.py` can check them once more with nothing of this project.
"""

import datetime
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

from meterlink import names
from meterlink.reports import Report
from openprepay.demo import draw
from openprepay.demo.fleet import MODBUS, Point, meter_name
from openprepay.demo.texts import Language, Text

_RESET, _BOLD, _DIM, _GREEN, _RED, _CYAN = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[36m"
_LEFT = 14  # columns of time, meter and sign
_FACT = 78  # of a fact with its drawing, where there is room; else so many that its source fits beside it …
_LEAST_FACT = 50  # … but no fewer
_SOURCE = 44
_WIDE = _LEFT + _FACT + _SOURCE


class Timeline:
    """Prints to `out` and writes `folder`/trace.jsonl. `count`: facts told · `confirmed`: how many of them proved."""

    def __init__(self, folder: Path, language: Language, out: TextIO = sys.stdout) -> None:
        self.language = language
        self.count = 0
        self.confirmed = 0
        self.step_name = "set-up"
        self._steps = 0
        self._out = out
        self._colours = out.isatty() and "NO_COLOR" not in os.environ
        self._wide = not out.isatty()  # lines of a file have no end
        self._columns = _WIDE if self._wide else shutil.get_terminal_size((_WIDE, 24)).columns
        self._trace = (folder / "trace.jsonl").open("w", encoding="utf-8")

    def close(self) -> None:
        self._trace.close()

    # -- telling -------------------------------------------------------------------------------------------------------

    def title(self, text: Text, **values: object) -> None:
        """A line above all."""
        self._print(self._paint(_BOLD, self.say(text, **values)))

    def step(self, name: str, title: Text) -> None:
        """A new step begins."""
        self._steps += 1
        self.step_name = name
        head = f"{self._steps:2d} · {self.say(title)}  ({name})"
        self._print("")
        self._print(self._paint(_CYAN, head + " " + "─" * max(4, min(self._columns, _WIDE) - draw.width(head) - 1)))

    def fact(
        self, at_s: int, point: Point | None, text: Text, source: Text, *, drawn: str = "", **values: object
    ) -> None:
        """A fact. `source`: where it was read from · `drawn`: a bar or line behind it."""
        self._tell("fact", at_s, point, text, source, None, drawn, values)

    def proved(
        self, point: Point, report: Report, text: Text, *, drawn: str = "", also: Text = ("", ""), **values: object
    ) -> None:
        """A fact that an authenticated report proves, which answers a question of ours. `also`: what else told."""
        assert report.meter == point.number and any(report.nonce), "the evidence is of this meter, and was asked for"
        source = ("report, nonce {nonce}, {link}", "报告，随机数 {nonce}，{link}")
        if also[0]:
            source = (f"{source[0]}; {also[0]}", f"{source[1]}；{also[1]}")
        link = "Modbus RTU" if point.carrier == MODBUS else "MQTT"
        self.confirmed += 1
        values = {**values, "nonce": report.nonce.hex(), "link": link}
        self._tell("confirmed", report.time_s, point, text, source, report, drawn, values)

    def accepted(self, point: Point, receipt: Report) -> None:
        """The meter's receipt for an order: authenticated, unasked, and no proof of more than that it was judged."""
        values = {"result": names.of(names.RESULT, receipt.result), "digest": receipt.digest.hex()}
        text = ("accepted: the receipt for {digest} says {result}", "已受理：{digest} 的回执为 {result}")
        source = ("receipt, MAC checked, MQTT", "回执（MAC 已核对），MQTT")
        self._tell("receipt", receipt.time_s, point, text, source, receipt, "", values)

    def failed(self, point: Point | None, expected: str, read: str) -> None:
        """The step did not come to what it should."""
        name = f"{self.step_name}, {point.name}" if point else self.step_name
        say = self.say
        self._print("")
        self._print(self._paint(_RED, say(("FAILED: step {step}", "失败：步骤 {step}"), step=name)))
        self._print("  " + say(("expected: {what}", "预期：{what}"), what=expected))
        self._print("  " + say(("read:     {what}", "读到：{what}"), what=read))
        self._write({"kind": "failed", "step": self.step_name, "expected": expected, "read": read})

    def plain(self, line: str = "") -> None:
        """A line that is no fact."""
        self._print(line)

    def say(self, text: Text, **values: object) -> str:
        """A text in the language of this run; a value may be a text itself."""
        return _put(text, values, self.language == "zh")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _tell(
        self,
        kind: str,
        at_s: int,
        point: Point | None,
        text: Text,
        source: Text,
        report: Report | None,
        drawn: str,
        values: dict[str, Any],
    ) -> None:
        self.count += 1
        sign = self._paint(_GREEN, "✓") if kind == "confirmed" else "·"
        who = point.name if point else " "
        what = self.say(text, **values)
        where = self.say(source, **values)
        left = f"{clock_text(at_s)}  {who} {sign} "
        columns = max(_LEAST_FACT, min(_FACT, self._columns - _LEFT - _SOURCE))
        if drawn:
            drawn = " " + drawn
        body = draw.pad(what, columns - draw.width(drawn)) + drawn
        if not self._wide and _LEFT + draw.width(body) + 4 + draw.width(where) > self._columns:
            self._print(f"{left}{body.rstrip()}")
            self._print(" " * _LEFT + self._paint(_DIM, "← " + where))
        else:
            self._print(f"{left}{body}  {self._paint(_DIM, '← ' + where)}")
        fact = {
            "kind": kind,
            "step": self.step_name,
            "time": datetime.datetime.fromtimestamp(at_s, datetime.UTC).isoformat(),
            "meter": meter_name(point) if point else None,
            "fact": _put(text, values, False),
            "read_from": _put(source, values, False),
        }
        if report is not None:
            fact["report"] = report.raw.hex()
        if kind == "confirmed":
            fact["nonce"] = values["nonce"]
        self._write(fact)

    def _write(self, fact: dict[str, Any]) -> None:
        self._trace.write(json.dumps(fact, ensure_ascii=False) + "\n")
        self._trace.flush()

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text

    def _print(self, line: str) -> None:
        print(line.rstrip(), file=self._out, flush=True)


def clock_text(at_s: int) -> str:
    """UTC, HH:MM:SS."""
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%H:%M:%S")


def _put(text: Text, values: dict[str, Any], chinese: bool) -> str:
    """A text with its values, each of which may be a text."""
    return text[chinese].format(
        **{name: one[chinese] if isinstance(one, tuple) else one for name, one in values.items()}
    )
