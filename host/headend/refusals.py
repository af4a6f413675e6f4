"""A refusal for people: names the field, the value and what was expected, and has changed nothing."""

MAX_SHOWN = 80


class Refused(Exception):
    """What was asked is not done. `field`, `value` (shortened, control characters escaped) and `expected` say why."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        shown = repr(value)
        if len(shown) > MAX_SHOWN:
            shown = shown[: MAX_SHOWN - 1] + "…"
        super().__init__(f"{field}: {shown} given, {expected} expected")
        self.field = field
        self.value = shown
        self.expected = expected
