"""The life cycles for people: `docs/` is generated from this, so that it cannot differ from the tables."""

from headend.orders import lifecycle, words

TITLES = (("Supply and configuration", lifecycle.SUPPLY), ("Credit", lifecycle.CREDIT))


def markdown() -> str:
    """Both life cycles: a state diagram (Mermaid) and a table each, then what states and events mean."""
    parts = []
    for title, table in TITLES:
        parts += [f"### {title}", "", _diagram(table), "", _table(table), ""]
    parts += ["### States", "", "| state | 中文 | meaning |", "|---|---|---|"]
    parts += [
        f"| `{state}`{' (end)' if state in lifecycle.ENDS else ''} | {words.STATES[state][1]} | {meaning} |"
        for state, meaning in lifecycle.STATES.items()
    ]
    parts += ["", "### Events", "", "| event | 中文 | what happened |", "|---|---|---|"]
    parts += [f"| `{event}` | {words.EVENTS[event][1]} | {what} |" for event, what in lifecycle.EVENTS.items()]
    return "\n".join(parts) + "\n"


def _all() -> list[str]:
    return list(lifecycle.STATES)


def _diagram(table: lifecycle.Table) -> str:
    states = {state for state, _ in table} | set(table.values())
    first = lifecycle.DRAFT if lifecycle.DRAFT in states else lifecycle.QUEUED
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {state} --> {end}: {event}" for (state, event), end in table.items()]
    lines += [f"    {state} --> [*]" for state in _all() if state in states and state in lifecycle.ENDS]
    return "\n".join([*lines, "```"])


def _table(table: lifecycle.Table) -> str:
    lines = ["| state | event | next |", "|---|---|---|"]
    lines += [f"| `{state}` | `{event}` | `{end}` |" for (state, event), end in table.items()]
    return "\n".join(lines)
