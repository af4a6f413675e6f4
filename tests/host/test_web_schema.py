"""The API holds to its document: every answer fits it, what it forbids is refused, and nearly all of it can be used.

By people who hold every role, and a channel with every scope, on a real server with a seeded database.
"""

import ast
import inspect
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

from headend.access.roles import ROLES
from headend.access.sealing import Sealer
from headend.campaigns import acts, following, making
from headend.gate import proposals
from headend.people.keyring import RingFile
from headend.validation import cases, visits
from headend.validation.rules import Finding
from headend.web.api import OPERATIONS
from meterlink.provision import CURRENCY_ENERGY
from meterlink.reasons import HOLD_ARREARS
from tests.host.api_walk import KEYED, Walk, draw, name_of
from tests.host.books import NOW_S
from tests.host.people_rig import add_person, session_of
from tests.host.site import ALL, API, Site

EXAMPLES = int(os.environ.get("API_EXAMPLES", "2"))  # of requests that fit, and of those that do not; more in soak
METERS = (17, 18, 19, 20, 21, 22)
TYPED = ("put_decoder", "vend_token", "vend_batch", "get_token", "void_token", "replace_token")  # in kWh alone
WANTED = 0.9


def seed(site: Site, folder: Path) -> Walk:
    """Two people with every role, one with none; meters that have reported; payments."""
    for name in ("boss", "second"):
        add_person(site.store, name, *((role, "") for role in ROLES))
    add_person(site.store, "guest")
    site.desk.sealer = Sealer(lambda: bytes(32))
    site.desk.persons = RingFile(folder / "persons")
    site.desk.persons.make(os.urandom)
    for number in METERS[:-2]:
        site.born(number)

    def callers() -> list[str]:
        now_s = site.clock.now_s()
        return [session_of(site.store, "boss", now_s), session_of(site.store, "second", now_s), ALL]

    walk = Walk(site, callers)
    walk.known["user"] = ["guest"]
    walk.known["meter"] = [str(number) for number in METERS[:-2]]
    client = site.client(walk.tokens[0])
    for number in range(4):
        paid = {"payment_id": f"seed-{number}", "meter": "17", "amount": "40.00"}
        walk.learn(client.post(f"{API}/payments", json=paid).json())
    for rule in ("spike", "zero"):
        found = Finding(rule, "hold", (NOW_S - 86_400,), 1, 0)
        site.store.write(cases.follow, NOW_S, 17 + len(rule) % 2, NOW_S // 86_400 - 1, [found]).result()
    site.store.write(visits.open_some, NOW_S + 2 * 86_400).result()
    site.run(60)
    walk.known["campaign"] = [str(running_campaign(site))]
    return walk


def running_campaign(site: Site) -> int:
    """One that was approved, of a meter whose reports are fresh."""
    stop = {"reason": HOLD_ARREARS}, {"meters": [17]}, {"start_s": NOW_S + 3600}, "user:boss", "a seed"
    made: int = site.store.write(making.make, NOW_S, "stop", *stop).result()
    while making.follow(site.store, NOW_S):
        pass
    listed = site.store.write(acts.propose, NOW_S, made, "user:boss").result()
    digest = site.store.read(proposals.get, listed).digest
    site.store.write(proposals.approve, NOW_S, listed, digest, "user:second").result()
    following.follow(site.store, NOW_S)
    return made


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("site")
    with Site(folder, METERS) as site:
        walk = seed(site, folder)
        walk.go(each=2)
        yield walk


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The same where the books are in kWh, for tokens that are typed."""
    folder = tmp_path_factory.mktemp("typed")
    with Site(folder, METERS, currency=CURRENCY_ENERGY) as site:
        walk = seed(site, folder)
        walk.go(each=2, only=TYPED)
        yield walk


def test_nearly_every_operation_can_be_used(walked: Walk, typed: Walk) -> None:
    """The test lists those that were never answered 2xx, and what was said."""
    names = [one.name for one in OPERATIONS]
    assert len(set(names)) == len(names)
    never = [name for name in names if name not in walked.answered and name not in typed.answered]
    told = "\n".join(f"{name}: {walked.refused.get(name, '')[:300]}" for name in never)
    assert len(never) <= (1 - WANTED) * len(names), f"{len(never)} of {len(names)} were never answered 2xx:\n{told}"


# What acts in several transactions: the signer's part stands outside them. Each has an id of its own to repeat it by.
BY_ITS_ID = {"vend_token", "vend_batch", "help_token", "engineering_tokens"}
GUESSES = {"put_my_password", "drop_factor"}  # each guess is counted before it is known to be right, and then they act


def test_no_answer_is_lost_with_the_process(walked: Walk, typed: Walk) -> None:
    """Where the process ends right behind an act, the same request again is told what the act led to."""
    found = {**walked.repeated, **typed.repeated}
    ended_session = found.pop("end_session", None)
    assert ended_session is None or ended_session[1].status_code == 401  # the caller is signed out, as was asked
    lost = {name: again.text for name, (_, again) in found.items() if not again.is_success}
    assert not lost
    kept = {name for name, (_, again) in found.items() if again.headers.get("idempotent-replayed")}
    assert {name for name, (ended, _) in found.items() if ended} - BY_ITS_ID == kept - BY_ITS_ID
    assert len(kept) > 40


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.name in KEYED], ids=lambda one: one.name)
def test_every_operation_that_acts_keeps_its_answer_with_its_act(operation: Any) -> None:
    """Also those that the walk did not get to: none writes but through `Desk.act`."""
    calls = called(operation.handler)
    if operation.name in BY_ITS_ID:
        assert "act" not in calls
    else:
        assert "act" in calls and not calls & ({"write", "with_maker"} if operation.name not in GUESSES else set())


def called(function: Any, seen: frozenset[str] = frozenset()) -> set[str]:
    """Methods of the desk that a handler calls, itself or through coroutines of its module and of others."""
    tree, found = ast.parse(textwrap.dedent(inspect.getsource(function))), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "attr", getattr(node.value, "id", "")) == "desk":
            found.add(node.attr)
        if isinstance(node, ast.Name) and node.id not in seen:
            other = function.__globals__.get(node.id)
            if inspect.iscoroutinefunction(other):
                found |= called(other, seen | {node.id})
    return found


load_all_checks()
from schemathesis.checks import CHECKS  # noqa: E402 - they are there once they are loaded

ALWAYS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def test_every_answer_is_one_of_the_document(walked: Walk) -> None:
    checks: dict[GenerationMode, list[CheckFunction]] = {
        GenerationMode.POSITIVE: list(CHECKS.get_by_names(ALWAYS)),
        GenerationMode.NEGATIVE: list(CHECKS.get_by_names([*ALWAYS, "negative_data_rejection"])),
    }
    found = []
    for operation in walked.operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            for number, case in enumerate(_cases(operation, mode)):
                token = walked.tokens[number % 3]
                for part in case.path_parameters or {}:
                    if mode is GenerationMode.POSITIVE:
                        case.path_parameters[part] = walked.pick(part, case.path_parameters[part])
                answer = walked.send(case, token, exactly=mode is GenerationMode.NEGATIVE)
                if answer.status_code == 401:
                    walked.renew()
                try:
                    case.validate_response(answer, checks=checks[mode])
                except FailureGroup as group:
                    found += [f"{name_of(operation)}: {one}" for one in group.exceptions]
    assert not found, "\n".join(found)


def _cases(operation: Any, mode: GenerationMode) -> list[Any]:
    try:
        return draw(operation, mode, EXAMPLES, 7)
    except Unsatisfiable:  # a request in which nothing can be wrong
        assert mode is GenerationMode.NEGATIVE
        return []
