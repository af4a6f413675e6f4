"""What each register means, for people: the host's half of `registers.py` (the meter does not carry it).

A test holds the two together: every field has a sentence, every sentence a field.
"""

HEADER = {
    "block_id": "Which block this is; check it before believing anything else in the answer.",
    "block_length": "Registers in this block, header included.",
    "snapshot": "Rises with each latch of this block; answers with different values come from different moments.",
    "time_s": "Meter time of the snapshot, UTC seconds since 1970.",
}

BLOCK = {
    "ident": "Who this is. Starts at register 0 so that any master can find it and check its byte order.",
    "hot": "What changes: supply, energy, money, in one reading.",
    "result": "Verdict on the order last written to the order mailbox.",
    "report": "The report that answers the question last written to the ask mailbox, with its MAC.",
    "batch": "Head and MAC of the batch last asked for; its records are read by FC 20.",
    "sources": "Running totals of the credit sources; source 0 = unused entry.",
    "order": "The last signed order that the meter holds for the aspect and selector last asked for.",
    "token": "The last typed token and what became of it; the decoder key in force, without the key.",
    "account": "The account beside its balance: emergency credit, what must be paid, debts, charges that are due.",
    "energy": "Energy by rate, calibration of the metering chip, and what the meter's switches say.",
    "quantities": "What is measured now, and minimum, maximum and average of the last whole interval, phase by phase.",
    "update": "How far an update of the firmware is; its image comes by FC 21.",
}

FIELD = {
    "self_test": "0x01020304: right when read as 01 02 03 04, most significant register first.",
    "map_version": "Version of this map; fields are only ever added behind.",
    "meter": "Number of the meter.",
    "account_epoch": "The account that orders must name; rises with every change of account, 0 before commissioning.",
    "tag_key_version": "Version of the per-meter key in use.",
    "board_class": "1 bench (keys readable, production keys refused), 2 sealed.",
    "firmware": "Application version, ASCII.",
    "legal_version": "Version of the legally relevant part (energy, drivers, calibration).",
    "imp_per_kwh": "Meter constant.",
    "interval_minutes": "Length of an interval.",
    "currency": "ISO 4217 numeric code of the account's currency; 0 = the account counts kWh.",
    "log_id": "Names the life of the record rings; record sequences are unique under it.",
    "boot": "Starts of the meter.",
    "clock": "0 unknown, 1 set.",
    "control": "What the meter intends: 0 disconnected, 1 connected, 2 ready for reconnection.",
    "contact": "What the relay is: 0 open, 1 closed, 2 unknown.",
    "diagnosis": "0 ok, 1 welded, 2 failed to close, 3 bypassed.",
    "pending": "Armed operation: 0 none, 1 trip, 2 close.",
    "due_s": "When the armed operation is due; 0 = none.",
    "holds": "Bit n: hold n stands.",
    "causes": "Bit n: the meter's own cause n stands.",
    "alarms": "Bit n: alarm n is on.",
    "load_ma": "Current behind the contact.",
    "no_load_s": "Seconds without current behind the contact, at most 65535.",
    "voltage_dv": "Voltage; 65535 = not measured.",
    "power_w": "Active power; 4294967295 = not measured.",
    "import_wh": "Imported energy.",
    "export_wh": "Exported energy.",
    "balance_uc": "Balance = credited + earned - refunded - adjusted - charged.",
    "credited_uc": "Sum of the sources' credits applied.",
    "earned_uc": "Credit for exported energy.",
    "refunded_uc": "Sum of the sources' refunds applied.",
    "adjusted_uc": "Fees, corrections and charges of the head end.",
    "charged_uc": "Charges: energy, standing charges, debts collected.",
    "waiting_uc": "Credited above the hoarding limit, not yet part of the balance.",
    "rate": "Rate in force, 0..3.",
    "price_uc_per_kwh": "Price of the rate in force.",
    "tariff_signing_epoch": "Signing epoch of the tariff in force; 0 = as made.",
    "tariff_version": "Version of the tariff in force.",
    "interval_oldest": "Oldest interval held; 0 = none.",
    "interval_newest": "Newest interval held; 0 = none.",
    "event_oldest": "Oldest event held; 0 = none.",
    "event_newest": "Newest event held; 0 = none.",
    "unclean_starts": "Starts after a power cut that came without warning.",
    "fresh": "What a recover order, and a clock order that moves the clock freely, must answer; new after each use.",
    "latches": "Bit n: latch n stands until a signed clear.",
    "mode": "Fee control: 0 local, 1 remote, 2 postpaid.",
    "until_wh": "Allowance: the import register up to which supply is covered; 0 = none.",
    "pending_id": "Rises with each order stored by the mailbox.",
    "done_id": "The pending_id that was judged last; the verdict is known when both are equal.",
    "result": "Result code of that order.",
    "aspect": "Aspect of that order.",
    "selector": "Source or reason of that order.",
    "signing_epoch": "Signing epoch of that order.",
    "version": "Version of that order.",
    "digest": "First 8 bytes of that order's digest.",
    "judged_s": "Meter time of the verdict.",
    "report_length": "222 when a report is there, 0 before.",
    "report": "Report, see the chapter Reports.",
    "batch_head": "Head of the batch, see the chapter Batches; zeros before.",
    "batch_mac": "MAC over head and records.",
    "order_length": "Bytes of the order; 0 = the meter holds none.",
    "order": "The order, byte for byte as it was signed.",
    "typed_count": "Rises with each token typed, at the keypad or here.",
    "typed_result": "What became of the last one: result of typed tokens.",
    "typed_class": "Its class; 65535 where it could not be read.",
    "typed_subclass": "Its subclass; 65535 where it could not be read.",
    "typed_tid": "Its token identifier, minutes since the base date; 4294967295 = none.",
    "typed_amount_uc": "What it credited.",
    "typed_control": "Control field of a test or display token.",
    "typed_uc": "Credited by typed tokens in all.",
    "lockout_s": "Seconds until a token is taken again after wrong ones; 0 = at once.",
    "sections": "Bit n: section n + 1 of a key change is stored.",
    "supply_group": "Supply group code of the decoder key; 4294967295 = no decoder key.",
    "key_type": "Key type: 0 initialization, 1 default, 2 unique, 3 common.",
    "tariff_index": "Tariff index of the decoder key.",
    "key_revision": "Key revision number; 0 = no decoder key.",
    "key_expiry": "Key expiry number, in units of 65 536 minutes.",
    "base_date": "Base date of token identifiers: 0 1993, 1 2014, 2 2035.",
    "power_limit_w": "Maximum power that a typed token has set; above it supply goes off as at overload. 0 = none.",
    "calibrations": "How often the meter was calibrated.",
    "gain_voltage": "Gain of the voltage channel, 32768 = nominal.",
    "gain_current": "Gain of the current channel, 32768 = nominal.",
    "gain_power": "Gain of the power, 32768 = nominal.",
    "phase_shift": "Phase correction in the chip's steps.",
    "offset_power": "Power offset in the chip's steps.",
    "inputs": "Bit 0 cover, 1 terminal cover, 2 magnet, 3 seal switch, 5 neutral missing: open or found.",
    "metering": "Pulses against power: 0 agree, 1 pulses missing, 2 too few, 3 more than the power explains.",
    "phases": "Phases that are measured, 1 or 3.",
    "minutes_kept": "Whole minutes that file 0xE501 holds, at most 60, lost when the meter restarts.",
    "spread_start_s": "Begin of the interval that the spreads are of; 0 = none since the start.",
    "settlement": "What a top-up pays first: 0 debts, 1 what is below zero.",
    "emergency": "Emergency credit: 0 none, 1 offered to the customer, 2 in use, 3 used up.",
    "emergency_left_uc": "What is left of the emergency credit in use.",
    "friendly": "1 = supply is on without credit, as it is a friendly time.",
    "reconnect_uc": "The least top-up after which credit no longer keeps supply off; 0 where it does not.",
    "standing_uc": "What of the charges is standing charges.",
    "standing_due_uc": "Standing charges that fell due while emergency credit was in use, not charged yet.",
    "update_state": "0 none, 1 receiving, 2 checking, 3 whole, 4 armed, 5 on trial, 6 good, 7 rolled back.",
    "slot": "Slot of the image that runs; 0 = the one that is built in.",
    "update_result": "What became of the last image: a result code; 0 = nothing yet.",
    "next_record": "Record of the image file that the meter expects; 0 = an offer.",
    "image_length": "Length of the image under way, or of the last one.",
    "image_sha256": "Its SHA-256.",
    "trial_s": "Seconds that an image on trial has left to pass its self-test.",
    "legal_sha256": "SHA-256 of the legally relevant modules that run; zeros = the image that is built in.",
}


_DEBT = {
    "kind": "0 collected by time, 1 a share of each top-up",
    "period": "0 day, 1 week, 2 month, of the amount or the cap",
    "priority": "the lowest is collected first",
    "share": "share of each top-up",
    "amount": "collected in each period",
    "cap": "the most that is collected of top-ups in a period, 0 = no cap",
    "placed": "moved to the meter in all",
    "withdrawn": "taken back in all",
    "collected": "collected in all, part of the charges",
    "owed": "what is left of it",
    "due": "fallen due while emergency credit was in use, not collected yet",
}


def of(block: str, field: str) -> str:
    """The sentence for a field of a block; KeyError where none was written."""
    if field in HEADER:
        return HEADER[field]
    if block == "energy" and "_rate_" in field:
        way, _, rate, _ = field.split("_")
        return f"{way.capitalize()} energy of rate {rate}."
    if block == "account" and field.startswith("debt_"):
        _, number, name = field.split("_")[:3]
        return f"Debt {number}: {_DEBT[name]}."
    if block == "quantities" and field not in FIELD:
        name, phase, spread = (field.replace("power_factor", "power factor") + "_").split("_")[:3]
        kinds = {"low": ", minimum", "high": ", maximum", "average": ", average", "": ""}
        return f"{name.capitalize()} of phase {phase}{kinds[spread]}; 0 where there is no such phase."
    if block == "sources":
        return {"s": "Credit source.", "c": "Credited by it.", "r": "Refunded by it."}[field[0]]
    return FIELD[field]
