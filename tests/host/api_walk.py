"""A walk through the whole API as people and programs use it, from the API document alone.

Requests are made from the document's schemas (schemathesis) with ids that earlier answers gave: a part of a path or a
field named as one that an answer held, such as `order` or `bill`, takes a value of those. So an operation that is added
is walked as well; `api_bodies.BODIES` says only what a schema cannot: values that fit each other.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from headend.web import keys, openapi
from headend.web.api import OPERATIONS
from tests.host.api_bodies import BODIES, LAST, PARTS, PLACES, QUERIES
from tests.host.mortal import Mortal
from tests.host.site import Site
from tests.pki import NOBODY

KEEP = 12  # ids of one name
HASTE = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# A field of a body that names something by another name.
ALIASES = {"new_meter": "meter", "to_meter": "meter", "meters": "meter"}
WORDS = ("note", "why", "reason_text", "evidence", "reference")  # texts for people, kept as they come
KEYED = {one.name for one in OPERATIONS if one.method in keys.UNSAFE and one.scope is not None and not one.secret}
NAMING = {part[1:-1] for one in OPERATIONS for part in one.path.split("/") if part.startswith("{")}
SPARED = ("boss", "second", "all", "desk.boss", "desk.second")  # who walks is not closed meanwhile

_keys = itertools.count(1)


@dataclass
class Walk:
    """Who calls (`callers()`: tokens, of who may most first), what was learnt, which operations were answered 2xx."""

    site: Site
    callers: Callable[[], list[str]]
    rounds: int = 3
    known: dict[str, list[Any]] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)  # operation -> status
    refused: dict[str, str] = field(default_factory=dict)  # operation -> what was said last
    repeated: dict[str, tuple[bool, httpx.Response]] = field(default_factory=dict)  # operation -> ended within, answer

    def __post_init__(self) -> None:
        self.mortal = Mortal(self.site.store)
        self.site.desk.store = self.mortal  # type: ignore[assignment]
        document = openapi.document()  # who calls is chosen here
        for methods in document["paths"].values():
            for operation in methods.values():
                del operation["security"]
        self.schema = schemathesis.openapi.from_dict(document)
        self.client = httpx.Client(base_url=self.site.url, timeout=60, trust_env=False, verify=NOBODY)
        self._random = random.Random(1)
        self.renew()

    def renew(self) -> None:
        """Sign in again."""
        self.tokens = self.callers()

    def operations(self) -> list[APIOperation[Any, Any, Any, Any]]:
        """In the order of the document, what ends things last."""
        found = [one.ok() for one in self.schema.get_all_operations()]
        return sorted(found, key=lambda one: LAST.index(name_of(one)) if name_of(one) in LAST else -1)

    def go(self, each: int, only: Sequence[str] = ()) -> None:
        """Try each operation (or `only` these) that was not answered 2xx yet, `each` times a round."""
        for turn in range(self.rounds):
            for operation in self.operations():
                name = name_of(operation)
                if name not in self.answered and (not only or name in only):
                    self.attempt(operation, each, turn)
            self.site.run(30)

    def attempt(self, operation: APIOperation[Any, Any, Any, Any], each: int, turn: int) -> None:
        name = name_of(operation)
        bodies = BODIES.get(name)
        listed = list(bodies(self)) if bodies is not None else None
        cases = draw(operation, GenerationMode.POSITIVE, each if listed is None else max(each, len(listed)), turn)
        for number, case in enumerate(cases):
            if listed:
                case.body = listed[number % len(listed)]
            elif operation.body:
                case.body = self.filled(case.body)
            for part in case.path_parameters or {}:
                place = PLACES.get(name, {}).get(part)
                case.path_parameters[part] = place or self.pick(part, case.path_parameters[part])
            case.query = QUERIES.get(name, {})
            for token in self.tokens:
                answer = self.act(name, case, token)
                if answer.is_success:
                    self.answered[name] = answer.status_code
                    self.learn(answer.json())
                    return
                if answer.status_code == 401:
                    self.renew()
                self.refused.setdefault(name, "")
                self.refused[name] += f"{answer.status_code} {answer.text[:300]} to {case.body!r:.200}\n"

    def act(self, name: str, case: Case, token: str) -> httpx.Response:
        """The head end ends behind the act; whoever asked repeats the request under its key, and gets this answer."""
        key = f"{name}-{next(_keys)}" if name in KEYED else None
        self.mortal.until(key or "")
        answer = self.send(case, token, key=key)
        ended = self.mortal.ended
        self.mortal.revive()
        if key is not None and (ended or answer.is_success):
            self.repeated[name] = ended, self.send(case, token, key=key)
        return self.repeated[name][1] if ended and not answer.is_success else answer

    def send(self, case: Case, token: str | None, *, exactly: bool = False, key: str | None = None) -> httpx.Response:
        """One request as the case says, by the caller of a token; unless `exactly`, any ETag will do, and this key."""
        sent = case.as_transport_kwargs(base_url=self.site.url)
        given = {name: value for name, value in (sent.get("headers") or {}).items() if name.lower() != "authorization"}
        if not exactly:
            given |= {"If-Match": "*"} if "If-Match" in given else {}
            given.pop("Idempotency-Key", None)
            given |= {"Idempotency-Key": key} if key else {}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        body = {"json": sent["json"]} if "json" in sent else {"content": sent.get("data")}
        return self.client.request(sent["method"], sent["url"], params=sent.get("params"), headers=given, **body)

    def pick(self, name: str, given: Any) -> Any:
        held = PARTS.get(name) or self.known.get(ALIASES.get(name, name))
        if not held:
            return given
        return held[-1] if self._random.random() < 0.5 else self._random.choice(held)

    def filled(self, body: Any) -> Any:
        """A body with known ids in the fields that name something."""
        if isinstance(body, dict):
            return {
                name: "for the record"
                if name in WORDS
                else ([self.pick(name, "")] if isinstance(value, list) else self.pick(name, value))
                if ALIASES.get(name, name) in NAMING and ALIASES.get(name, name) in self.known
                else self.filled(value)
                for name, value in body.items()
            }
        return [self.filled(one) for one in body] if isinstance(body, list) else body

    def learn(self, answer: Any) -> None:
        """Keep what an answer names, the newest `KEEP` of each."""
        if isinstance(answer, list):
            for one in answer:
                self.learn(one)
        if not isinstance(answer, dict):
            return
        for name, value in answer.items():
            if isinstance(value, str | int) and not isinstance(value, bool):
                held = self.known.setdefault(name, [])
                if value not in held and not (name in NAMING and _spared(value)):
                    held.append(value)
                    del held[:-KEEP]
            else:
                self.learn(value)


def _spared(value: str | int) -> bool:
    """Whether a value is one of those who walk, or a secret under the name of an id."""
    return isinstance(value, str) and (value in SPARED or value.startswith(("op_", "ops_")))


def name_of(operation: APIOperation[Any, Any, Any, Any]) -> str:
    return str(operation.definition.raw["operationId"])


def draw(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, count: int, turn: int) -> list[Case]:
    """`count` requests that the document allows (positive) or does not (negative); the same ones in each run."""
    found: list[Case] = []

    @seed(turn)
    @settings(HASTE, max_examples=count)
    @given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[:count]
