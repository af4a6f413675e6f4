"""The kinds of exclusions, as a table: what each forbids, on what evidence, how it ends.

From the practice of fee control: customers who pay by direct debit (银行储蓄户) and those with large bills (VIP) are
not stopped for arrears; a supply-protected customer (保电: life support, hospitals) is stopped for nothing but safety;
a supply point with more than 50 households behind it passes only after the authority was consulted and a notice stood
on site for two days.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headend.language import name
from headend.refusals import Refused
from meterlink.labels import Text
from meterlink.reasons import HOLD_ARREARS, HOLD_PROTECTION, HOLD_SAFETY

DAY_S = 86_400
NOTICE_S = 2 * DAY_S  # how long a notice stands on site before a stop
EVIDENCE_S = 30 * DAY_S  # a consultation or a notice serves the stop that it was made for, not one of next year

ACCOUNT = "account"
POINT = "point"
NEVER = "never"
MAY = "may"
MUST = "must"

ALL_BUT_SAFETY = frozenset(range(HOLD_ARREARS, HOLD_SAFETY))

# Evidence -> what it is.
BASIS = "basis"
AUTHORITY = "authority"
SITE_NOTICE = "site_notice"
EVIDENCE: Mapping[str, Text] = {
    BASIS: ("what it rests on", "设立依据"),
    AUTHORITY: ("the authority was consulted", "已征询主管部门"),
    SITE_NOTICE: ("a notice was posted on site", "已现场张贴公告"),
}


@dataclass(frozen=True)
class Kind:
    """One kind. `bars`: reasons of holds that it forbids.

    `basis`: the evidence that it is set on · `of`: ends with the account, or stays with the supply point · `end`:
    whether an end is set in advance · `four_eyes`: a second person approves its end · `on_meter`: the meter is told
    too, so that its own causes (out of credit) do not stop the customer either · `passes_with`: evidence -> age in
    seconds; a stop passes while each kind of it is at least so old, and at most `EVIDENCE_S`.
    """

    title: Text
    basis: Text
    bars: frozenset[int]
    of: str
    end: str
    four_eyes: bool = False
    on_meter: bool = False
    passes_with: tuple[tuple[str, int], ...] = ()

    def forbids(self, reason: int) -> bool:
        """Whether it forbids this hold; of `HOLD_PROTECTION`, whether it forbids to end the protection."""
        return reason in self.bars or (self.on_meter and reason == HOLD_PROTECTION)


KINDS: Mapping[str, Kind] = {
    "protection": Kind(
        title=("supply protection", "保电"),
        basis=("the decision to protect", "保电审批文件"),
        bars=ALL_BUT_SAFETY,
        of=POINT,
        end=NEVER,
        four_eyes=True,
        on_meter=True,
    ),
    "life_support": Kind(
        title=("life support", "生命支持用电"),
        basis=("certificate of the hospital or the device", "医院或医疗设备证明"),
        bars=ALL_BUT_SAFETY,
        of=POINT,
        end=NEVER,
        four_eyes=True,
        on_meter=True,
    ),
    "many_households": Kind(
        title=("more than 50 households behind it", "供电点后超过50户"),
        basis=("list of the households", "户数清单"),
        bars=frozenset((HOLD_ARREARS,)),
        of=POINT,
        end=MAY,
        four_eyes=True,
        passes_with=((AUTHORITY, 0), (SITE_NOTICE, NOTICE_S)),
    ),
    "vip": Kind(
        title=("VIP customer (monthly bill of 3000 or more)", "VIP客户（月电费3000及以上）"),
        basis=("the bill or contract", "账单或合同"),
        bars=frozenset((HOLD_ARREARS,)),
        of=ACCOUNT,
        end=MAY,
    ),
    "direct_debit": Kind(
        title=("bank direct debit", "银行储蓄户"),
        basis=("the mandate", "代扣协议"),
        bars=frozenset((HOLD_ARREARS,)),
        of=ACCOUNT,
        end=MAY,
    ),
    "deferral": Kind(
        title=("payment agreed for later", "缓缴协议"),
        basis=("the agreement", "缓缴协议书"),
        bars=frozenset((HOLD_ARREARS,)),
        of=ACCOUNT,
        end=MUST,
    ),
    "dispute": Kind(
        title=("bill under dispute", "电费争议"),
        basis=("the complaint", "客户投诉单"),
        bars=frozenset((HOLD_ARREARS,)),
        of=ACCOUNT,
        end=MUST,
    ),
}


def of_code(code: str) -> Kind:
    """The kind of a code; raises Refused."""
    if code not in KINDS:
        raise Refused("kind", code, f"one of {', '.join(KINDS)}")
    return KINDS[code]


def title(code: str, language: str) -> str:
    """A kind's name for people."""
    return name({known: kind.title for known, kind in KINDS.items()}, code, language)
