"""What goes wrong, for people and programs: problem details (RFC 9457) with a code from one table.

A request that is answered with a problem has changed nothing.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy.exc import OperationalError

from headend.access.caller import NotAllowed
from headend.access.kept import KeyReused
from headend.access.passwords import Busy
from headend.access.people import UnknownGrant, UnknownUser, UserExists
from headend.access.service_tokens import UnknownChannel
from headend.campaigns.lifecycle import UnknownCampaign
from headend.collection.pauses import UnknownPause
from headend.collection.requests import UnknownRead
from headend.firmware.images import UnknownImage
from headend.fleet.grid import UnknownNode
from headend.fleet.meters import MeterExists
from headend.fleet.points import UnknownPoint
from headend.fleet.types import UnknownType
from headend.gate.proposals import UnknownProposal
from headend.ledger.bills import BillConflict, UnknownBill
from headend.ledger.channels import ChannelExists
from headend.ledger.floats import FloatConflict, OverLimit
from headend.ledger.openings.running import UnknownImport
from headend.ledger.payments import PaymentConflict, QuoteChanged, UnknownPayment
from headend.ledger.receipts import UnknownReceipt
from headend.ledger.refunds.asking import RequestConflict as RefundConflict
from headend.ledger.refunds.life import UnknownRefund
from headend.ledger.settlements import SettlementConflict
from headend.orders.lifecycle import UnknownOrder
from headend.people.persons import Erased, PersonChanged, UnknownPerson
from headend.refusals import Refused
from headend.registry.calendar import CalendarChanged
from headend.registry.exclusions import Changed, UnknownExclusion
from headend.store import CommitFailed, OutcomeUnknown, Overloaded, StoreClosed, UnknownMeter
from headend.tokens.helping import RequestConflict
from headend.tokens.key_change import Unused
from headend.tokens.making import NotMade
from headend.validation.cases import UnknownCase
from headend.validation.visits import UnknownVisit
from meterlink.orders import OrderError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:openprepay:problem:"


class Kind(NamedTuple):
    """The status and title of a code; `wasteful` ones count against the caller's budget of errors."""

    status: int
    title: str
    wasteful: bool = False


CODES = {
    "malformed": Kind(400, "The request cannot be read", True),
    "unauthorized": Kind(401, "A valid token is needed", True),
    "not_signed_in": Kind(401, "Name, password or code do not fit"),
    "code_wanted": Kind(401, "A code of the authenticator is needed"),
    "out_of_scope": Kind(403, "The caller may not do this", True),
    "cross_site": Kind(403, "The request came from another site", True),
    "no_such_path": Kind(404, "There is nothing at this path", True),
    "unknown_meter": Kind(404, "The meter is not in the fleet"),
    "unknown_order": Kind(404, "There is no such order"),
    "unknown_proposal": Kind(404, "There is no such proposal"),
    "unknown_campaign": Kind(404, "There is no such campaign"),
    "unknown_image": Kind(404, "There is no such image"),
    "unknown_node": Kind(404, "There is no such part of the grid"),
    "unknown_point": Kind(404, "There is no such supply point"),
    "unknown_type": Kind(404, "There is no such meter type"),
    "unknown_token": Kind(404, "This channel has not asked for such a token"),
    "unknown_import": Kind(404, "There is no such import"),
    "unknown_refund": Kind(404, "There is no such refund"),
    "unknown_payment": Kind(404, "This channel has not brought such a payment"),
    "unknown_day": Kind(404, "That day was not closed"),
    "unknown_bill": Kind(404, "There is no such bill"),
    "unknown_receipt": Kind(404, "There is no such receipt"),
    "unknown_settlement": Kind(404, "This channel has not settled that day"),
    "unknown_user": Kind(404, "There is no such person"),
    "unknown_grant": Kind(404, "There is no such grant"),
    "unknown_channel": Kind(404, "There is no such channel"),
    "unknown_exclusion": Kind(404, "There is no such exclusion"),
    "unknown_case": Kind(404, "There is no such case"),
    "unknown_pause": Kind(404, "There is no such pause"),
    "unknown_read": Kind(404, "There is no such request to read"),
    "unknown_visit": Kind(404, "There is no such visit"),
    "unknown_person": Kind(404, "There is no such person"),
    "person_erased": Kind(410, "The person was erased"),
    "no_person_key": Kind(503, "The key of personal data is missing"),
    "method_not_allowed": Kind(405, "The path does not know this method", True),
    "too_slow": Kind(408, "The request did not arrive in time", True),
    "payment_conflict": Kind(409, "The payment id was used for another payment"),
    "request_conflict": Kind(409, "The request id was used for another request"),
    "bill_conflict": Kind(409, "The reference was used for another bill"),
    "quote_changed": Kind(409, "What was quoted does not hold any more"),
    "settlement_conflict": Kind(409, "The day was settled by another list"),
    "over_limit": Kind(422, "The channel may not take so much now"),
    "unused_tokens": Kind(409, "Tokens that were not typed would be lost"),
    "meter_exists": Kind(409, "The meter is in the fleet already"),
    "user_exists": Kind(409, "The name is taken"),
    "channel_exists": Kind(409, "The name is taken"),
    "key_reused": Kind(409, "The Idempotency-Key was used for another request"),
    "key_in_use": Kind(409, "The Idempotency-Key is of a request whose answer is not kept"),
    "changed_meanwhile": Kind(412, "It was changed by somebody else"),
    "too_large": Kind(413, "The request is too large", True),
    "not_json": Kind(415, "The request is not JSON", True),
    "refused": Kind(422, "A value does not fit"),
    "no_condition": Kind(428, "Say which state the change is meant for"),
    "too_many_requests": Kind(429, "Too many requests"),
    "too_many_attempts": Kind(429, "Too many attempts to sign in"),
    "too_many_errors": Kind(429, "Too many requests that could not be served"),
    "head_too_large": Kind(431, "The head of the request is too large"),
    "failed": Kind(500, "The head end failed"),
    "not_stored": Kind(503, "Nothing was stored"),
    "outcome_unknown": Kind(503, "Whether it was stored is not known yet"),
    "no_database": Kind(503, "The database does not answer"),
    "not_made": Kind(503, "The signer has not made it"),
    "overloaded": Kind(503, "Too much waits to be stored"),
    "too_many_connections": Kind(503, "Too many connections are open"),
    "stopping": Kind(503, "The head end is stopping"),
}

# The first that fits counts: a refusal has more special ones.
_EXCEPTIONS: tuple[tuple[type[Exception], str], ...] = (
    (NotAllowed, "out_of_scope"),
    (KeyReused, "key_reused"),
    (UnknownUser, "unknown_user"),
    (UnknownGrant, "unknown_grant"),
    (UnknownChannel, "unknown_channel"),
    (UnknownExclusion, "unknown_exclusion"),
    (UnknownCase, "unknown_case"),
    (UnknownPause, "unknown_pause"),
    (UnknownRead, "unknown_read"),
    (UnknownVisit, "unknown_visit"),
    (Changed, "changed_meanwhile"),
    (CalendarChanged, "changed_meanwhile"),
    (UnknownPerson, "unknown_person"),
    (Erased, "person_erased"),
    (PersonChanged, "changed_meanwhile"),
    (UserExists, "user_exists"),
    (ChannelExists, "channel_exists"),
    (Busy, "overloaded"),
    (UnknownMeter, "unknown_meter"),
    (UnknownOrder, "unknown_order"),
    (UnknownProposal, "unknown_proposal"),
    (UnknownCampaign, "unknown_campaign"),
    (UnknownImage, "unknown_image"),
    (UnknownNode, "unknown_node"),
    (UnknownPoint, "unknown_point"),
    (UnknownType, "unknown_type"),
    (UnknownRefund, "unknown_refund"),
    (UnknownImport, "unknown_import"),
    (RefundConflict, "request_conflict"),
    (UnknownPayment, "unknown_payment"),
    (PaymentConflict, "payment_conflict"),
    (UnknownBill, "unknown_bill"),
    (UnknownReceipt, "unknown_receipt"),
    (BillConflict, "bill_conflict"),
    (QuoteChanged, "quote_changed"),
    (SettlementConflict, "settlement_conflict"),
    (FloatConflict, "request_conflict"),
    (OverLimit, "over_limit"),
    (RequestConflict, "request_conflict"),
    (Unused, "unused_tokens"),
    (MeterExists, "meter_exists"),
    (NotMade, "not_made"),
    (Refused, "refused"),
    (OrderError, "refused"),
    (OutcomeUnknown, "outcome_unknown"),
    (CommitFailed, "not_stored"),
    (OperationalError, "no_database"),
    (Overloaded, "overloaded"),
    (StoreClosed, "stopping"),
)

# Codes whose sentence would only tell about our inside.
_SENTENCES = {
    "failed": "Something went wrong here that is not the request's fault; the operator's log tells what.",
    "not_stored": "The database did not take it. Nothing has changed; send the same request again.",
    "outcome_unknown": "The database was lost while it stored this; send the same request again to learn what became "
    "of it.",
    "no_database": "The database does not answer. Nothing has changed; send the same request again.",
    "stopping": "The head end is being stopped. Nothing has changed; send the same request again later.",
}
RETRY_AFTER_S = {
    "not_stored": 2,
    "outcome_unknown": 2,
    "no_database": 2,
    "not_made": 10,
    "overloaded": 2,
    "stopping": 10,
}


class Problem(Exception):
    """An answer that is a problem.

    `detail` is a sentence; `field`, `value` (as given, shortened) and `expected` are for programs, where one field is
    to blame.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        value: str | None = None,
        expected: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.value = value
        self.expected = expected
        self.headers = dict(headers or {})

    @property
    def kind(self) -> Kind:
        return CODES[self.code]

    def body(self) -> "ProblemDetails":
        return ProblemDetails(
            type=TYPE_PREFIX + self.code,
            title=self.kind.title,
            status=self.kind.status,
            code=self.code,
            detail=self.detail,
            field=self.field,
            value=self.value,
            expected=self.expected,
        )


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """Problem details (RFC 9457): why a request was not served."""

    type: Annotated[str, Meta(description="`urn:openprepay:problem:` and the code")]
    title: str
    status: int
    code: Annotated[str, Meta(description="For programs; a code never changes its meaning.")]
    detail: Annotated[str, Meta(description="A sentence that names the field, the value and what was expected.")]
    field: Annotated[str | None, Meta(description="The field that is to blame, where it is one.")] = None
    value: Annotated[str | None, Meta(description="What it held, quoted and shortened.")] = None
    expected: str | None = None


def of_exception(error: Exception) -> Problem:
    """The problem that an exception of the domain amounts to; `failed` for one that nobody foresaw."""
    code = next((code for kind, code in _EXCEPTIONS if isinstance(error, kind)), "failed")
    headers = {"Retry-After": str(RETRY_AFTER_S[code])} if code in RETRY_AFTER_S else None
    detail = _SENTENCES.get(code) or _sentence(str(error))
    if isinstance(error, Refused):
        return Problem(code, detail, field=error.field, value=error.value, expected=error.expected, headers=headers)
    return Problem(code, detail, headers=headers)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
