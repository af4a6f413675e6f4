"""The block of the account beside its balance: emergency credit, what must be paid, debts and charges that are due."""


def account(meter) -> tuple:
    """In the order of `registers.ACCOUNT`. What is here has changed with a commit, as the balance has."""
    cover, emergency, charges = meter.cover, meter.emergency, meter.charges
    values: tuple = (
        meter.supply.limits.settlement,
        emergency.state,
        emergency.left_uc(),
        int(cover.friendly),
        cover.reconnect_uc(),
        meter.committed()[25],
        meter.pricing.standing_uc,
        charges.standing_due_uc,
    )
    for debt in charges.debts:
        terms = debt.terms
        values += (terms.kind, terms.period, terms.priority, terms.share, terms.amount_uc, terms.cap_uc)
        values += (terms.placed_uc, terms.withdrawn_uc, debt.collected_uc, debt.owed_uc(), debt.due_uc)
    return values
