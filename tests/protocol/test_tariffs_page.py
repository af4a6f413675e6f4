"""The worked example of docs/tariffs.md is what the engine says."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from headend.web import wire
from headend.web.tariff_json import TariffBody, read_tariff
from meterlink.shadow import Bill

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tariffs.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (\d{4}-\d\d-\d\d \d\d:\d\d) \| (\d+) Wh \| (\d) \| (\d+) Wh \| ([\d.]+) \| (–|[\d.]+) \| ([\d.]+) \|$", re.M
)


def test_the_worked_example() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    plan = read_tariff(msgspec.json.decode(found[1], type=TariffBody))
    rows = ROW.findall(PAGE)
    assert len(rows) == 5
    bill = Bill(plan)
    for n, (begins, energy, rate, before, costs, standing, charged) in enumerate(rows):
        at_s = int(datetime.fromisoformat(begins).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp())
        charged_uc, standing_uc = bill.charged_uc, bill.standing_uc
        bill.turn(at_s)
        if not n:
            bill.running.step_wh = int(before)
        assert bill.running.step_wh == int(before)
        assert plan.rate_at(at_s) == int(rate)
        bill.add(at_s, int(energy))
        stood_uc = bill.standing_uc - standing_uc
        assert stood_uc == (0 if standing == "–" else wire.read_amount("charges", standing))
        assert bill.charged_uc - charged_uc - stood_uc == wire.read_amount("costs", costs)
        assert bill.charged_uc == wire.read_amount("charged", charged) and not bill.remainder
