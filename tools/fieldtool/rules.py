"""What limits, debts and load control say, in sentences."""

from collections.abc import Iterator

from fieldtool import values
from fieldtool.words import Words
from meterlink import bodies, names
from meterlink.orders import Statement

_DAYS = (
    ("Mon", "周一"),
    ("Tue", "周二"),
    ("Wed", "周三"),
    ("Thu", "周四"),
    ("Fri", "周五"),
    ("Sat", "周六"),
    ("Sun", "周日"),
)


def limits(words: Words, body: bodies.Limits, unit: str) -> Iterator[str]:
    """What of the limits is not at its default, beside those that every meter has."""

    def money(amount_uc: int) -> str:
        return values.money(amount_uc, unit)

    if body.emergency_uc:
        yield words.say("emergency", amount=money(body.emergency_uc), threshold=money(body.emergency_from_uc))
    if body.overdraft_uc:
        yield words.say("overdraft", amount=money(body.overdraft_uc))
    if body.min_close_uc:
        yield words.say("min_close", amount=money(body.min_close_uc))
    if body.settlement:
        yield words.say("settles", order=words.code("settlement", names.of(names.SETTLEMENT, body.settlement)))
    if body.rules & bodies.RULE_REMINDER:
        yield words.say("rule_reminder")
    if body.rules & bodies.RULE_SUSPEND:
        yield words.say("rule_suspend")
    if body.friendly_from != body.friendly_until and body.friendly_days & ~bodies.FRIENDLY_SPECIAL:
        days = words.join([words.pick(_DAYS[place]) for place in range(7) if body.friendly_days >> place & 1])
        begin, end = _clock(body.friendly_from), _clock(body.friendly_until)
        yield words.say("friendly_hours", begin=begin, end=end, days=days)
    if body.friendly_days & bodies.FRIENDLY_SPECIAL:
        yield words.say("friendly_special")
    if body.supply_mode:
        yield words.say("supply_mode", mode=body.supply_mode)
    if body.over_voltage_dv:
        yield words.say("over_voltage", volts=values.decimal(body.over_voltage_dv, -1, 1), seconds=body.voltage_s)
    if body.under_voltage_dv:
        yield words.say("under_voltage", volts=values.decimal(body.under_voltage_dv, -1, 1), seconds=body.voltage_s)
    if body.max_temperature_dc:
        yield words.say("max_temperature", celsius=values.decimal(body.max_temperature_dc, -1, 1))
    for current_ma, after_s in body.overload:
        if current_ma:
            yield words.say("overload_step", amperes=values.decimal(current_ma, -3, 1), seconds=after_s)


def debt(words: Words, stated: Statement, unit: str) -> str:
    """A debt's totals and how it is collected."""
    terms = bodies.decode_debt(stated.body)
    placed, withdrawn = values.money(terms.placed_uc, unit), values.money(terms.withdrawn_uc, unit)
    parts = [words.say("debt", number=stated.selector, placed=placed, withdrawn=withdrawn)]
    weekly = terms.period == bodies.PERIOD_WEEK
    period = words.say("day" if terms.period == bodies.PERIOD_DAY else "week" if weekly else "month")
    if terms.kind == bodies.DEBT_SHARED:
        parts.append(words.say("debt_share", percent=values.decimal(terms.share, -2, 2)))
        if terms.cap_uc:
            parts.append(words.say("debt_cap", amount=values.money(terms.cap_uc, unit), period=period))
    else:
        parts.append(words.say("debt_time", amount=values.money(terms.amount_uc, unit), period=period))
    return words.join(parts)


def load(words: Words, stated: Statement, unit: str) -> str:
    """The steps of load control."""
    steps = bodies.decode_load(stated.body)
    if not steps:
        return words.say("load_ends")
    return words.join(
        [
            words.say("load_step", time=values.utc(from_s), watts=power_w)
            if power_w
            else words.say("load_free", time=values.utc(from_s))
            for from_s, power_w in steps
        ]
    )


def _clock(quarter: int) -> str:
    return f"{quarter // 4:02d}:{quarter % 4 * 15:02d}"
