"""Money for people, and what a household uses by profile and tariff, in integers."""

from meterlink.tariff import WH_PER_KWH
from metersim.board import VirtualBoard
from openprepay.demo.fleet import Point


def money(amount_uc: int) -> str:
    """Micro-currency as a decimal, at least two places."""
    whole, rest = divmod(abs(amount_uc), 1_000_000)
    return f"{'-' if amount_uc < 0 else ''}{whole}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


def cost_uc(point: Point, board: VirtualBoard, start_s: int, seconds: int) -> int:
    """What the household of a meter uses in a time, by profile and tariff, in micro-currency."""
    total_mws_uc = 0
    for at_s in range(start_s, start_s + seconds, 60):
        watts = board.load.watts(at_s)
        price = point.tariff.prices_uc_per_kwh[point.tariff.rate_at(at_s)]
        total_mws_uc += watts * min(60, start_s + seconds - at_s) * price
    return total_mws_uc // (3600 * WH_PER_KWH)


def runs_out_s(point: Point, board: VirtualBoard, start_s: int, balance_uc: int) -> int:
    """When a balance is used up, by profile and tariff, within a day."""
    for minutes in range(1, 24 * 60):
        if cost_uc(point, board, start_s, minutes * 60) >= balance_uc:
            return start_s + minutes * 60
    return start_s + 86_400
