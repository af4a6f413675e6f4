"""A tariff in sentences."""

from fieldtool import values
from fieldtool.words import Words
from meterlink.tariff import FRIENDLY, PER_DAY, Tariff


def tell(words: Words, body: Tariff, unit: str) -> str:
    """All that a tariff says."""
    prices = [body.prices_uc_per_kwh[at : at + body.rates] for at in range(0, len(body.prices_uc_per_kwh), body.rates)]
    start = f"{values.utc(body.activate_s)} UTC" if body.activate_s else words.say("at_once")
    parts = [words.say("tariff", prices=_money(words, prices[0], unit), start=start)]
    for from_wh, stepped in zip(body.steps_wh, prices[1:], strict=True):
        kwh = values.decimal(from_wh, -3, 0)
        parts.append(words.say("step", kwh=kwh, prices=_money(words, stepped, unit)))
    if body.steps_wh:
        period = words.say("step_year", month=body.year_from) if body.year_from else words.say("step_month")
        parts.append(period)
    if body.export_prices_uc_per_kwh:
        parts.append(words.say("export_prices", prices=_money(words, body.export_prices_uc_per_kwh, unit)))
    for per, amount_uc in body.charges:
        key = "charge_day" if per == PER_DAY else "charge_month"
        parts.append(words.say(key, amount=values.money(amount_uc, unit)))
    parts += _days(words, body)
    if body.unknown_time_rate:
        parts.append(words.say("unknown_time_rate", rate=body.unknown_time_rate))
    return words.join(parts)


def _days(words: Words, body: Tariff) -> list[str]:
    parts = []
    offset = _offset(body.utc_offset_quarters)
    if body.more_days or len(body.slots) > 1:
        parts.append(words.say("slots", offset=offset, slots=_slots(words, body.slots)))
    for number, slots in enumerate(body.more_days, 1):
        parts.append(words.say("day_type", number=number, slots=_slots(words, slots)))
    for season in body.seasons:
        week = " ".join(map(str, season[2:]))
        parts.append(words.say("season", first=f"{season[0]:02d}-{season[1]:02d}", week=week))
    for year, month, day, day_type in body.special_days:
        date = f"{2000 + year}-{month:02d}-{day:02d}" if year else f"{month:02d}-{day:02d}"
        key = "friendly_day" if day_type & FRIENDLY else "special_day"
        parts.append(words.say(key, date=date, number=day_type & ~FRIENDLY))
    for from_s, quarters in body.offsets:
        parts.append(words.say("offset_from", time=values.utc(from_s), offset=_offset(quarters)))
    return parts


def _money(words: Words, prices: tuple[int, ...], unit: str) -> str:
    return words.join([values.money(price, unit) for price in prices])


def _slots(words: Words, slots: tuple[tuple[int, ...], ...]) -> str:
    return words.join([f"{start // 4:02d}:{start % 4 * 15:02d} {rate}" for start, rate in slots])


def _offset(quarters: int) -> str:
    return f"{'-' if quarters < 0 else '+'}{abs(quarters) // 4:02d}:{abs(quarters) % 4 * 15:02d}"
