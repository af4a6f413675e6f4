"""The head end and a meter, each a process of its own, over Modbus TCP: sell, stop, reconnect, read – all read back.

The meter runs the firmware under real MicroPython; it is provisioned with the file that `openprepay keys provision`
writes.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import needs
from tests.brokers import free_port
from tests.system.head_end import HeadEnd, meter

NUMBER = 310000000017
ME = f"/meters/{NUMBER}"
GIVE_UP_S = 240


def until(head_end: HeadEnd, path: str, match: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until the answer fits; the last one, where it never does, is in the failure."""
    ends = time.monotonic() + GIVE_UP_S
    while time.monotonic() < ends:
        status, found = head_end.ask("GET", path)
        assert status == 200, found
        if match(found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{path} within {GIVE_UP_S} s: {found}")


def confirmed(head_end: HeadEnd, order: int) -> dict[str, Any]:
    found = until(head_end, f"/orders/{order}", lambda one: one["ended"])
    assert found["state"] == "confirmed", found["history"]
    return found


def test_a_meter_is_sold_to_stopped_and_reconnected(tmp_path: Path) -> None:
    needs.module("micropython", "simulator")
    tcp = f"127.0.0.1:{free_port()}"
    with HeadEnd(tmp_path) as head_end:
        head_end.start()
        assert head_end.ask("POST", "/meters", meter(NUMBER, f"tcp://{tcp}?unit=1", "modbus"))[0] == 201
        record = tmp_path / "provision.bin"
        head_end.run("keys", "provision", str(NUMBER), "--out", str(record))
        command = [sys.executable, "-m", "openprepay", "sim", "meter", "--id", str(NUMBER), "--micropython"]
        running = subprocess.Popen(
            [*command, "--tcp", tcp, "--provision", str(record)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            _, paid = head_end.ask("POST", "/payments", {"payment_id": "1", "meter": str(NUMBER), "amount": "20.00"})
            on_meter = until(head_end, "/payments/1", lambda one: one["on_meter"])
            assert on_meter["on_meter_since"]["s"] > 0
            evidence = confirmed(head_end, paid["order"])["evidence"]
            assert len(bytes.fromhex(evidence)) == 222
            supplied = until(head_end, ME, lambda one: one["supply"]["why_off"] is None)
            assert supplied["credit"]["in_flight"] == "0.00"

            _, stop = head_end.ask("POST", f"{ME}/disconnect", {"reason": "legal", "note": "test", "delay_s": 0})
            confirmed(head_end, stop["order"])
            off = head_end.ask("GET", ME)[1]["supply"]
            assert (off["wanted"]["supply"], off["intended"]["control"]) == ("off", "disconnected")
            assert (off["physical"]["contact"], off["physical"]["load_ma"]) == ("open", 0)
            assert off["why_off"] == f"Off: held for a legal order (order {stop['order']} by channel:all: “test”)."

            _, start = head_end.ask("POST", f"{ME}/connect", {"reason": "legal", "close": "direct", "spread_s": 0})
            confirmed(head_end, start["order"])
            on = head_end.ask("GET", ME)[1]["supply"]
            assert (on["wanted"]["supply"], on["physical"]["contact"], on["why_off"]) == ("on", "closed", None)

            _, again = head_end.ask(
                "POST", "/payments", {"payment_id": "2", "meter": str(NUMBER), "amount": "0.000001"}
            )
            assert confirmed(head_end, again["order"])["total"] == "20.000001"
            explained = until(head_end, f"{ME}/reconciliation", lambda one: one["source_shown"])
            assert (explained["explained"], explained["difference"]) == (True, "0.00")
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(60)
        assert head_end.end(signal.SIGTERM) == 0
    assert "Traceback" not in head_end.log()
