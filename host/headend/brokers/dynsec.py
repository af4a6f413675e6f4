"""Mosquitto's dynamic security: who may speak is changed while the broker runs.

What is wanted follows from the fleet: a client and a role for each meter in service (version 2.0 puts no names into the
topics of a role), and one role for all head ends. `differences` compares that with what the plugin holds and gives the
commands that make it so; they go over `$CONTROL/dynamic-security/v1` in bounded batches, and each is answered.

What was not made here, such as the administrator's own client, is left alone: ours have names of meters or are listed.
A meter that is no longer in service is deleted with its role, which ends its connection. (One that is only disabled
comes in again with its certificate: with `use_identity_as_username` the plugin is not asked who may connect, only what
a client may say and hear.) Whom a person has disabled at the broker stays so.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from headend.brokers import rights
from headend.refusals import Refused
from meterlink import topics
from meterlink.orders import MAX_METER

COMMANDS_TOPIC = "$CONTROL/dynamic-security/v1"
ANSWERS_TOPIC = COMMANDS_TOPIC + "/response"
BATCH = 25  # commands in a message; one of a meter has some 300 bytes, and brokers take 16 KiB (`files`)
PAGE = 5_000  # clients that are listed at once, some 20 bytes each
MAX_ANSWER = 1 << 20  # bytes, that whoever asks has to take
HEAD_END_ROLE = "openprepay-head-end"
_ROLE_OF_METER = "openprepay-meter-"
_ACL = {rights.PUBLISH: ("publishClientSend",), rights.RECEIVE: ("subscribePattern", "publishClientReceive")}

Command = dict[str, Any]


class Held(NamedTuple):
    """What the plugin holds: names of clients, names of roles."""

    clients: frozenset[str]
    roles: frozenset[str]


class Refusals(Exception):
    """Commands that the plugin did not carry out; the text names each with its reason."""


class Control(Protocol):
    """What carries commands: all answers to them, in their order. Raises OSError, TimeoutError."""

    def ask(self, commands: Sequence[Command]) -> list[dict[str, Any]]: ...


def held(control: Control) -> Held:
    """Ask the plugin what it holds."""
    clients = frozenset(_listed(control, "listClients", "clients"))
    return Held(clients, frozenset(_listed(control, "listRoles", "roles")))


def is_meter(name: str) -> bool:
    """Whether a name is a meter's."""
    return name.isascii() and name.isdigit() and len(name) <= 15 and name == topics.meter_name(int(name))


def differences(meters: Iterable[int], head_ends: Sequence[str], found: Held) -> Iterator[Command]:
    """The commands that make the broker let in these meters and head ends and no other meter, in a good order."""
    if HEAD_END_ROLE not in found.roles:
        yield _role(HEAD_END_ROLE, rights.HEAD_END, "")
    for name in head_ends:
        if rights.head_end_name(name) not in found.clients:
            yield _client(name, HEAD_END_ROLE)
    wanted = set()
    for number in meters:
        if not 1 <= number <= MAX_METER:
            raise Refused("meter", number, f"1..{MAX_METER}")
        name = topics.meter_name(number)
        wanted.add(name)
        if _ROLE_OF_METER + name not in found.roles:
            yield _role(_ROLE_OF_METER + name, rights.METER, name)
        if name not in found.clients:
            yield _client(name, _ROLE_OF_METER + name)
    for name in sorted(found.clients - wanted):
        if is_meter(name):
            yield {"command": "deleteClient", "username": name}
    for role in sorted(found.roles):
        name = role.removeprefix(_ROLE_OF_METER)
        if name != role and name not in wanted:
            yield {"command": "deleteRole", "rolename": role}


def carry_out(control: Control, commands: Iterable[Command]) -> int:
    """Have commands carried out; returns how many. Raises Refusals with those that were not, after the others."""
    done = 0
    refused: list[str] = []
    batch: list[Command] = []
    for command in commands:
        batch.append(command)
        if len(batch) == BATCH:
            done, batch = done + len(batch), _run(control, batch, refused)
    done += len(batch)
    _run(control, batch, refused)
    if refused:
        raise Refusals(f"{len(refused)} of {done} commands were not carried out: {'; '.join(refused[:10])}.")
    return done


def _run(control: Control, batch: list[Command], refused: list[str]) -> list[Command]:
    if batch:
        for command, answer in zip(batch, control.ask(batch), strict=True):
            if "error" in answer:
                what = command.get("username") or command.get("rolename") or ""
                refused.append(f"{command['command']} {what}: {answer['error']}")
    return []


def _listed(control: Control, command: str, what: str) -> Iterator[str]:
    at = 0
    while True:
        answer = control.ask([{"command": command, "count": PAGE, "offset": at}])[0]
        if "error" in answer:
            raise Refusals(f"{command}: {answer['error']}.")
        rows = answer["data"][what]
        yield from rows
        at += len(rows)
        if not rows or at >= answer["data"]["totalCount"]:
            return


def _role(name: str, kind: str, own: str) -> Command:
    acls = [
        {"acltype": kind_of_acl, "topic": right.topic.replace(rights.OWN, own), "priority": 0, "allow": True}
        for right in rights.RIGHTS[kind]
        for kind_of_acl in _ACL[right.direction]
    ]
    return {"command": "createRole", "rolename": name, "acls": acls}


def _client(name: str, role: str) -> Command:
    """A client that shows a certificate: it has no password, and without one nobody comes in under its name."""
    return {"command": "createClient", "username": name, "roles": [{"rolename": role, "priority": 0}]}


def encode(commands: Sequence[Command]) -> bytes:
    """The message that carries commands."""
    return json.dumps({"commands": list(commands)}, separators=(",", ":")).encode()


def decode(payload: bytes) -> list[dict[str, Any]]:
    """The answers in a message; raises Refusals where it holds none."""
    try:
        answers: list[dict[str, Any]] = json.loads(payload)["responses"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusals(f"The plugin answered {payload[:60]!r}.") from error
    return answers
