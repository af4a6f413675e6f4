"""What a worker may be there for."""

from collections.abc import Iterable

from headend.refusals import Refused
from headend.workers.homes import BUS, LINE, NUMBERS, SHARD

COLLECT = "collect"  # takes what meters say, over the shards and buses that it holds
DISPATCH = "dispatch"  # sends orders and questions, over those
SIGN = "sign"  # has what is stated signed
SEAL = "seal"  # chains the books, signs the head of each day, compares books and meters
BILL = "bill"  # prices days again, checks readings, packs and forgets what is old
API = "api"  # answers HTTP: the API and the pages

ROLES = (COLLECT, DISPATCH, SIGN, SEAL, BILL, API)
ALONE = (SIGN, SEAL, BILL)
"""Done by one worker at a time, whoever holds the role's lease."""

ROLE = "role"  # kind of lease, numbered as in ALONE
KINDS = (SHARD, BUS, LINE, ROLE)


def of_text(text: str) -> frozenset[str]:
    """Of a comma-separated list; raises Refused."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    return checked(found, text)


def checked(roles: Iterable[str], shown: object = None) -> frozenset[str]:
    """Raise Refused where these cannot be a worker's."""
    found = frozenset(roles)
    if not found or not found <= set(ROLES):
        raise Refused("roles", shown or sorted(found), f"some of {', '.join(ROLES)}")
    if (COLLECT in found) != (DISPATCH in found):
        # An order leaves through the session that hears its answer, so one worker does both for the meters it holds.
        raise Refused("roles", shown or sorted(found), f"{COLLECT} and {DISPATCH} together")
    return found


def contended(serves: frozenset[str]) -> list[tuple[str, str, list[int]]]:
    """(name in `serves`, kind of lease, its numbers) of all that is shared out among workers who serve it."""
    kinds = [(kind, kind, list(NUMBERS[kind])) for kind in (SHARD, BUS, LINE)]
    return [one for one in [*kinds, *((role, ROLE, [at]) for at, role in enumerate(ALONE))] if one[0] in serves]
