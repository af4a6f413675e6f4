"""What a report proves: one line a case, and the property that no *confirmed* claims more than the report shows."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.clock import ManualClock
from headend.keys.keystore import KeyStore
from headend.orders.confirm import (
    BYPASSED,
    CONFIRMED,
    CONFLICT,
    CONTRADICTED,
    EXPIRED,
    FAILED_TO_CLOSE,
    HOLD_DIFFERS,
    NOT_YET,
    OUTRANKED,
    WELDED,
    Verdict,
    Wanted,
    confirms,
)
from meterlink import reasons, reports, results, states, stating
from meterlink.orders import (
    ASPECT_CREDIT,
    ASPECT_EPOCH,
    ASPECT_KEYS,
    ASPECT_MODE,
    ASPECT_RECOVER,
    ASPECT_RETIRE,
    ASPECT_SUPPLY,
    ASPECT_TARIFF,
    KEYS_TAG,
)
from meterlink.reports import Report
from tests.host.books import METER, NOW_S, SOURCE
from tests.host.peer import CLOSED, OPEN, READY, Noise, Peer

LEGAL = reasons.HOLD_LEGAL
HELD = 1 << LEGAL
DIGEST = b"\x01" * 8
OTHER = b"\x02" * 8
PEER = Peer(KeyStore.generate(Noise()), ManualClock(NOW_S))

OFF = Wanted(METER, ASPECT_SUPPLY, LEGAL, 1, 1, 5, 0, NOW_S + 60, "off", DIGEST)
ON = replace(OFF, wants="on", not_after_s=0)
PERMIT = replace(ON, wants="permit")
TARIFF = replace(ON, aspect=ASPECT_TARIFF, selector=0, wants="version")
MODE = replace(TARIFF, aspect=ASPECT_MODE, wants="mode", body=stating.mode(states.MODE_POSTPAID, 0))
OPENED = replace(TARIFF, aspect=ASPECT_EPOCH, wants="epoch", account_epoch=2, version=0)
RETIRED = replace(TARIFF, aspect=ASPECT_RETIRE, wants="retired", version=0)
RECOVERED = replace(TARIFF, aspect=ASPECT_RECOVER, wants="recovered")
TAG_BODY = stating.tag_keys([1], (3, bytes(32)), PEER.key, METER, 1, 5)
TAG = replace(TARIFF, aspect=ASPECT_KEYS, selector=KEYS_TAG, wants="tag", body=TAG_BODY)
CREDIT = replace(ON, aspect=ASPECT_CREDIT, selector=SOURCE, version=0, total_uc=1000, wants="credit")
FOLDED = replace(CREDIT, wants="closed")

OURS = {"signing_epoch": 1, "version": 5, "digest": DIGEST}
NEWER = {"signing_epoch": 1, "version": 6, "digest": OTHER}
HIGHER_EPOCH = {"signing_epoch": 2, "version": 1, "digest": OTHER}
OLDER = {"signing_epoch": 1, "version": 4, "digest": OTHER}
LATER = {"time_s": NOW_S + 61}
STOPPED = {**OURS, **OPEN, "holds": HELD}
RELEASED = {**OURS, "holds": 0}


def report(wanted: Wanted, **facts: Any) -> Report:
    return Report(PEER.report(subject=(wanted.aspect, wanted.selector), **facts), PEER.key)


CASES: list[tuple[Wanted, dict[str, Any], str, str, str]] = [
    # off
    (OFF, STOPPED, CONFIRMED, "", "no load current for 30 s"),
    (OFF, {**STOPPED, "no_load_s": 2}, CONFIRMED, "", "2 s"),
    (OFF, {**STOPPED, "no_load_s": 1}, NOT_YET, "", "1 s only"),
    (OFF, {**STOPPED, "no_load_s": 0, "load_ma": 30}, CONTRADICTED, BYPASSED, "30 mA"),
    (OFF, {**STOPPED, "diagnosis": states.DIAGNOSIS_BYPASSED}, CONTRADICTED, BYPASSED, "bypassed"),
    (OFF, {**STOPPED, "control": states.CONTROL_CONNECTED}, NOT_YET, "", "means it to be closed"),
    (OFF, {**STOPPED, "control": states.CONTROL_READY}, CONFIRMED, "", "open"),
    (OFF, {**STOPPED, **CLOSED}, NOT_YET, "", "still closed"),
    (OFF, {**STOPPED, **CLOSED, "diagnosis": states.DIAGNOSIS_WELDED}, CONTRADICTED, WELDED, "welded"),
    (OFF, {**STOPPED, **CLOSED, "pending": states.PENDING_TRIP, "due_s": 99}, NOT_YET, "", "due at 99"),
    (OFF, {**STOPPED, **CLOSED, "holds": HELD | 1 << reasons.HOLD_PROTECTION}, NOT_YET, "", "protected"),
    (OFF, {**STOPPED, "contact": states.CONTACT_UNKNOWN}, NOT_YET, "", "cannot sense"),
    (OFF, {**STOPPED, **NEWER}, CONFIRMED, "", "open"),
    (OFF, {**STOPPED, **NEWER, "holds": 0}, OUTRANKED, "", "outranks 5"),
    (OFF, {**STOPPED, **HIGHER_EPOCH, "holds": 0}, OUTRANKED, "", "signing epoch 2"),
    (OFF, {**STOPPED, **OLDER}, NOT_YET, "", "5 expected"),
    (OFF, {**STOPPED, **OLDER, **LATER}, EXPIRED, "", "last second"),
    (OFF, {**STOPPED, **OLDER, **LATER, "clock": states.CLOCK_UNKNOWN}, NOT_YET, "", "5 expected"),
    (OFF, {**STOPPED, **OLDER, "time_s": NOW_S + 60}, NOT_YET, "", "5 expected"),
    (OFF, {**STOPPED, **OLDER, "result": results.BAD_BODY}, NOT_YET, "", "was bad_body"),
    (OFF, {**STOPPED, "digest": OTHER}, CONTRADICTED, CONFLICT, "other content"),
    (OFF, {**STOPPED, "holds": 0}, CONTRADICTED, HOLD_DIFFERS, "not as stated"),
    (OFF, {**STOPPED, "account_epoch": 2}, OUTRANKED, "", "epoch 2"),
    (OFF, {**STOPPED, "account_epoch": 0}, NOT_YET, "", "epoch 0"),
    (OFF, {**STOPPED, "selector": LEGAL + 1}, NOT_YET, "", "another subject"),
    # on
    (ON, {**RELEASED, **CLOSED}, CONFIRMED, "", "closed"),
    (ON, {**RELEASED, **OPEN, "holds": 1 << reasons.HOLD_TAMPER}, NOT_YET, "", "because hold tamper."),
    (ON, {**RELEASED, **OPEN, "causes": 1 << reasons.CAUSE_OUT_OF_CREDIT}, NOT_YET, "", "because out_of_credit."),
    (ON, {**RELEASED, **OPEN, "pending": states.PENDING_CLOSE, "due_s": 7}, NOT_YET, "", "close is due at 7."),
    (ON, {**RELEASED, **READY}, NOT_YET, "", "customer's key."),
    (ON, {**RELEASED, **OPEN}, NOT_YET, "", "not closed yet."),
    (
        ON,
        {**RELEASED, **OPEN, "diagnosis": states.DIAGNOSIS_FAILED_TO_CLOSE},
        CONTRADICTED,
        FAILED_TO_CLOSE,
        "not close",
    ),
    (ON, {**RELEASED, **CLOSED, "control": states.CONTROL_DISCONNECTED}, CONTRADICTED, WELDED, "welded"),
    (ON, {**RELEASED, **CLOSED, **NEWER, "holds": HELD}, OUTRANKED, "", "outranks"),
    (ON, {**RELEASED, **CLOSED, **OLDER}, NOT_YET, "", "5 expected"),
    # permit
    (PERMIT, {**RELEASED, **READY}, CONFIRMED, "", "by the customer."),
    (PERMIT, {**RELEASED, **READY, "causes": 1}, CONFIRMED, "", "by the customer, once it is no longer out_of_credit."),
    (PERMIT, {**RELEASED, **CLOSED}, CONFIRMED, "", "closed"),
    (PERMIT, {**RELEASED, **OPEN, "holds": 1 << reasons.HOLD_SAFETY}, NOT_YET, "", "hold safety"),
    (PERMIT, {**RELEASED, **CLOSED, "contact": states.CONTACT_OPEN}, NOT_YET, "", "not closed yet"),
    # version
    (TARIFF, OURS, CONFIRMED, "", "version 5"),
    (TARIFF, NEWER, CONFIRMED, "", "version 6"),
    (TARIFF, HIGHER_EPOCH, CONFIRMED, "", "epoch 2"),
    (TARIFF, OLDER, NOT_YET, "", "5 expected"),
    (TARIFF, {**OURS, "digest": OTHER}, CONTRADICTED, CONFLICT, "other content"),
    # mode
    (MODE, {**OURS, "mode": states.MODE_POSTPAID}, CONFIRMED, "", "mode is postpaid."),
    (MODE, {**OURS, "mode": states.MODE_LOCAL}, NOT_YET, "", "mode is local, postpaid expected."),
    (MODE, {**NEWER, "mode": states.MODE_POSTPAID}, CONFIRMED, "", "version 6"),
    (MODE, {**NEWER, "mode": states.MODE_LOCAL}, OUTRANKED, "", "outranks 5"),
    (MODE, {**OLDER, "mode": states.MODE_POSTPAID}, NOT_YET, "", "5 expected"),
    # tag
    (TAG, {**OURS, "tag_key_version": 3}, CONFIRMED, "", "tag key is 3."),
    (TAG, {**OURS, "tag_key_version": 1}, NOT_YET, "", "tag key is 1, 3 expected."),
    (TAG, {**NEWER, "tag_key_version": 4}, OUTRANKED, "", "outranks 5"),
    (TAG, {**OLDER, "tag_key_version": 3}, NOT_YET, "", "5 expected"),
    # credit
    (CREDIT, {"source_credited_uc": 1000}, CONFIRMED, "", "shows 1000"),
    (CREDIT, {"source_credited_uc": 1001}, CONFIRMED, "", "shows 1001"),
    (CREDIT, {"source_credited_uc": 999}, NOT_YET, "", "1000 expected"),
    (CREDIT, {"source_credited_uc": 1000, "account_epoch": 2}, NOT_YET, "", "epoch 2"),
    # closed
    (FOLDED, {"source_credited_uc": 1000, "digest": bytes(8)}, CONFIRMED, "", "which is closed"),
    (FOLDED, {"source_credited_uc": 1001, "digest": bytes(8)}, CONFIRMED, "", "shows 1001"),
    (FOLDED, {"source_credited_uc": 999, "digest": bytes(8)}, NOT_YET, "", "which is open"),
    (FOLDED, {"source_credited_uc": 1000, "digest": b"another!"}, NOT_YET, "", "which is open"),
    # epoch
    (OPENED, {"account_epoch": 2}, CONFIRMED, "", "epoch 2"),
    (OPENED, {"account_epoch": 3}, CONFIRMED, "", "epoch 3"),
    (OPENED, {"account_epoch": 1}, NOT_YET, "", "epoch 1"),
    # retired
    (RETIRED, {"alarms": 1 << states.ALARM_RETIRED}, CONFIRMED, "", "closed for good"),
    (RETIRED, {"alarms": 1 << states.ALARM_TAMPER}, NOT_YET, "", "is open"),
    (RETIRED, {"alarms": 1 << states.ALARM_RETIRED, "account_epoch": 2}, OUTRANKED, "", "epoch 2"),
    # recovered
    (RECOVERED, OURS, CONFIRMED, "", "version 5"),
    (RECOVERED, {**OURS, "alarms": 1 << states.ALARM_HISTORY_LOST}, CONTRADICTED, "", "history is lost"),
    (RECOVERED, {**OLDER, "alarms": 1 << states.ALARM_HISTORY_LOST}, NOT_YET, "", "5 expected"),
]


@pytest.mark.parametrize(("wanted", "facts", "outcome", "cause", "words"), CASES)
def test_case(wanted: Wanted, facts: dict[str, Any], outcome: str, cause: str, words: str) -> None:
    verdict = confirms(wanted, report(wanted, **facts))
    assert (verdict.outcome, verdict.cause) == (outcome, cause), verdict.sentence
    assert words in verdict.sentence


def test_another_meters_report_proves_nothing() -> None:
    told = report(OFF, **STOPPED)
    assert confirms(replace(OFF, meter=METER + 1), told) == Verdict(NOT_YET, "The report speaks of another subject.")


@given(
    wanted=st.sampled_from([OFF, ON, PERMIT, TARIFF, MODE, TAG, CREDIT]),
    version=st.sampled_from([OURS, NEWER, OLDER, HIGHER_EPOCH]),
    facts=st.fixed_dictionaries(
        {
            "control": st.integers(0, 2),
            "contact": st.integers(0, 2),
            "diagnosis": st.integers(0, 3),
            "pending": st.integers(0, 2),
            "clock": st.integers(0, 1),
            "holds": st.integers(0, 511),
            "causes": st.integers(0, 15),
            "load_ma": st.integers(0, 2),
            "no_load_s": st.integers(0, 3),
            "time_s": st.integers(NOW_S, NOW_S + 120),
            "account_epoch": st.integers(0, 2),
            "source_credited_uc": st.integers(998, 1002),
            "mode": st.integers(0, 2),
            "tag_key_version": st.integers(1, 4),
        }
    ),
)
def test_a_confirmed_claims_nothing_that_the_report_does_not_show(
    wanted: Wanted, version: dict[str, Any], facts: dict[str, Any]
) -> None:
    told = report(wanted, **version, **facts)
    verdict = confirms(wanted, told)
    assert verdict.sentence.endswith(".")
    assert reports.LENGTH == len(told.raw)
    if verdict.outcome != CONFIRMED:
        return
    assert told.account_epoch == wanted.account_epoch
    if wanted.wants == "credit":
        assert told.source_credited_uc >= wanted.total_uc
        return
    assert (told.signing_epoch, told.version) >= (wanted.signing_epoch, wanted.version)
    if wanted.wants == "mode":
        assert told.mode == states.MODE_POSTPAID
    if wanted.wants == "tag":
        assert told.tag_key_version == 3
    hold_stands = bool(told.holds & HELD)
    closed = told.contact == states.CONTACT_CLOSED
    if wanted.wants == "off":
        assert hold_stands and told.contact == states.CONTACT_OPEN and told.no_load_s >= 2
        assert told.control != states.CONTROL_CONNECTED
    if wanted.wants == "on":
        assert not hold_stands and closed and told.control == states.CONTROL_CONNECTED
    if wanted.wants == "permit":
        connected = closed and told.control == states.CONTROL_CONNECTED
        assert not hold_stands and (told.control == states.CONTROL_READY or connected)
