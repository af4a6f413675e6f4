"""The core tables: meters, their orders, their money, their reads; `tables.py` lists the other files.

Money in micro-currency, energy in watt-hours, time in UTC seconds.

The row of a meter in `meter_state` is the lock of everything that belongs to that meter: each transaction that
touches its money or its orders begins with an update of that row.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from headend.store.columns import RowId, metadata

database = Table(
    "database",
    metadata,
    Column("one", Integer, primary_key=True),  # always 1
    Column("signing_epoch", Integer, nullable=False),  # must equal the key store's
    Column("source", Integer, nullable=False),  # credit source of this database
    Column("currency", Integer, nullable=False),  # ISO 4217 numeric
    Column("created_s", BigInteger, nullable=False),
    CheckConstraint("one = 1", name="single"),
)

meter = Table(
    "meter",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, nullable=False),
    Column("tag_key_version", Integer, nullable=False),
    Column("carrier", String(16), nullable=False),  # mqtt | modbus
    # modbus: link URL + unit, e.g. "serial:/dev/ttyUSB0?unit=1"; mqtt: ""
    Column("address", String(200), nullable=False),
    Column("interval_minutes", Integer, nullable=False),
    Column("tariff", LargeBinary, nullable=False),  # body last wanted
    Column("limits", LargeBinary, nullable=False),
    Column("label", String(200), nullable=False, server_default=""),
    Column("added_s", BigInteger, nullable=False),
    # Where it stands in the utility, from the whole to the part, such as "north/feeder-3/t-17": who may act on it.
    Column("area", String(120), nullable=False, server_default=""),
    Column("bus", Integer),  # modbus: the lease under which its link is (workers.homes)
    Index("ix_meter_area", "area"),
)

meter_state = Table(
    "meter_state",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("touched", BigInteger, nullable=False, server_default="0"),  # raised by the lock
    Column("next_version", BigInteger, nullable=False, server_default="1"),  # of non-credit orders, one counter a meter
    # Of the account epoch in force:
    Column("sold_uc", BigInteger, nullable=False, server_default="0"),  # total of our source
    Column("refunded_uc", BigInteger, nullable=False, server_default="0"),
    Column("on_meter_uc", BigInteger, nullable=False, server_default="0"),  # our source's total that a report has shown
    Column("booked_uc", BigInteger, nullable=False, server_default="0"),  # the meter's `charged` as far as it is booked
    # Newest authenticated report (freshness: boot, counter), all facts from its bytes.
    Column("report", LargeBinary),
    Column("report_boot", BigInteger),
    Column("report_counter", BigInteger),
    Column("report_time_s", BigInteger),
    Column("report_taken_s", BigInteger),
    Column("online", Integer, nullable=False, server_default="0"),  # mqtt: birth seen and no will since
    Column("online_boot", BigInteger),
    Column("next_ask_s", BigInteger, nullable=False, server_default="0"),  # when to ask for the next report
    Column("replacing", BigInteger),  # the typed token that our credit statements name, until that is settled
    # Of the newest report, for whoever looks for meters by how they stand; none until the first report.
    Column("contact", Integer),  # states.CONTACT_*
    Column("control", Integer),  # states.CONTROL_*
    Column("balance_uc", BigInteger),
    Column("alarms", Integer),  # bits of states.ALARM_*
    Index("ix_meter_state_next_ask", "next_ask_s"),
    Index("ix_meter_state_contact", "contact"),
    Index("ix_meter_state_alarms", "alarms"),
)

# Of each meter, beside `meter_state` and under the same lock: what of keys, typed tokens and restores is under way.
meter_trust = Table(
    "meter_trust",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("next_tag_key_version", Integer),  # stated by a `keys` order, not yet seen in a report
    Column("old_tag_key_version", Integer),  # held beside the one in force, until a `keys` order drops it
    # Newest signing keys that the meter is proved to hold; none where no `keys` order of ours was confirmed yet.
    Column("credit_key_version", Integer),
    Column("control_key_version", Integer),
    Column("typed_uc", BigInteger, nullable=False, server_default="0"),  # typed tokens that a report has shown
    Column("adjusted_uc", BigInteger, nullable=False, server_default="0"),  # total that our mode statements carry
    # After a restore: the source whose last order is to be read back before credit is stated again, and what was paid
    # meanwhile.
    Column("readback_source", Integer),
    Column("readback_order", LargeBinary),  # what the meter held of it, once that is proved; none: nothing
    Column("withheld_uc", BigInteger, nullable=False, server_default="0"),
    Column("whole_report", LargeBinary),  # the newest one from before the meter lost its history
)

channel = Table(
    "channel",
    metadata,
    Column("channel", String(40), primary_key=True),
    Column("token_digest", LargeBinary, nullable=False),  # SHA-256 of the bearer token
    Column("scopes", String(200), nullable=False),  # space separated: payments orders read
    Column("max_payment_uc", BigInteger, nullable=False),
    Column("added_s", BigInteger, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("account", String(80), primary_key=True),  # e.g. "channel:pos-1", "meter:000000000017", "income:energy"
    Column("kind", String(16), nullable=False),  # channel | customer | income | clearing
)

entry = Table(
    "entry",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at_s", BigInteger, nullable=False),
    Column("kind", String(24), nullable=False),  # payment | reversal | consumption | opening …
    Column("debit", ForeignKey("account.account"), nullable=False),
    Column("credit", ForeignKey("account.account"), nullable=False),
    Column("amount_uc", BigInteger, nullable=False),
    Column("meter", BigInteger),
    Column("cause", String(120), nullable=False),  # "payment:<channel>:<id>", "report:<meter>:…"
    CheckConstraint("amount_uc > 0", name="positive"),
    CheckConstraint("debit <> credit", name="two_sided"),
    UniqueConstraint("kind", "cause"),
    Index("ix_entry_debit", "debit"),
    Index("ix_entry_credit", "credit"),
)

payment = Table(
    "payment",
    metadata,
    Column("channel", ForeignKey("channel.channel"), primary_key=True),
    Column("payment_id", String(64), primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("amount_uc", BigInteger, nullable=False),
    Column("request_digest", LargeBinary, nullable=False),
    Column("total_uc", BigInteger, nullable=False),  # of our source after it: on the meter when a report shows it
    Column("order_id", ForeignKey("order.id")),  # none where a typed token carries it, or it waits for a read-back
    Column("taken_s", BigInteger, nullable=False),
    Column("on_meter_s", BigInteger),  # meter time of the report that showed it
    Column("account_epoch", Integer, nullable=False, server_default="1"),
    Column("source", Integer, nullable=False, server_default="1"),  # whose total `total_uc` is; 0: no source's
    Column("again", Integer, nullable=False, server_default="0"),  # the channel says that it may have posted it before
    Column("allocated_uc", BigInteger, nullable=False, server_default="0"),  # of `amount_uc`: what is not for the meter
    Column("purpose", String(8), nullable=False, server_default=""),  # ledger.payments.PURPOSES
    Index("ix_payment_meter", "meter", "total_uc"),
    Index("ix_payment_channel", "channel", "taken_s"),
    Index(
        "ix_payment_pending",
        "taken_s",
        sqlite_where=text("on_meter_s is null and source > 0"),
        postgresql_where=text("on_meter_s is null and source > 0"),
    ),
)

order = Table(
    "order",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("aspect", Integer, nullable=False),
    Column("selector", Integer, nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("signing_epoch", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),  # 0 for credit
    Column("total_uc", BigInteger, nullable=False, server_default="0"),  # credit: the source's total that it states
    Column("issued_s", BigInteger, nullable=False),
    Column("not_after_s", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),
    Column("wants", String(12), nullable=False),  # what confirms it: off | on | permit | credit | version …
    Column("signed", LargeBinary),  # statement + signature + tag
    Column("digest", LargeBinary),  # first 8 bytes
    Column("result", Integer, nullable=False, server_default="0"),
    Column("actor", String(80), nullable=False),
    Column("reason_text", String(200), nullable=False, server_default=""),
    Column("evidence", LargeBinary),  # the report that confirmed it
    Column("evidence_time_s", BigInteger),
    Column("sent_s", BigInteger),  # first handed to a carrier
    Column("changed_s", BigInteger, nullable=False),
    Column("wrap_key_version", Integer),  # the per-meter key under which its body hides a key, where it does
    Column("gate", String(12), nullable=False, server_default=""),  # gate.classes: as what it passes; "" = freely
    Column("valid_s", Integer, nullable=False, server_default="0"),  # from being queued to its last second; 0 = never
    Column("proposal", BigInteger),  # what has to be approved before it is queued, or was
    Index("ix_order_meter", "meter", "aspect", "selector"),
    Index("ix_order_state", "state"),
    # At most one unsent order per meter and aspect and selector.
    Index(
        "uq_order_unsent",
        "meter",
        "aspect",
        "selector",
        unique=True,
        sqlite_where=text("state in ('queued')"),
        postgresql_where=text("state in ('queued')"),
    ),
    # … and at most one that waits for a second person, which may stand beside it.
    Index(
        "uq_order_waiting",
        "meter",
        "aspect",
        "selector",
        unique=True,
        sqlite_where=text("state in ('draft', 'awaiting_approval', 'approved')"),
        postgresql_where=text("state in ('draft', 'awaiting_approval', 'approved')"),
    ),
    # What waits for a signature, the oldest first; what waits for the root key may be a whole fleet's, for weeks.
    Index(
        "ix_order_unsigned",
        "state",  # the same in all rows of it: so SQLite takes this index and no wider one
        "id",
        sqlite_where=text("state = 'queued' and signed is null and aspect not in (7, 8, 10, 12)"),
        postgresql_where=text("state = 'queued' and signed is null and aspect not in (7, 8, 10, 12)"),
    ),
    Index(
        "ix_order_for_root",
        "state",
        "id",
        sqlite_where=text("state = 'queued' and signed is null and aspect in (7, 8, 10, 12)"),
        postgresql_where=text("state = 'queued' and signed is null and aspect in (7, 8, 10, 12)"),
    ),
)

# Credit sources of this system: the database's own, and those of databases that it follows.
credit_source = Table(
    "credit_source",
    metadata,
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("signing_epoch", Integer, nullable=False),
    Column("opened_s", BigInteger, nullable=False),
    Column("closed_s", BigInteger),
    Column("why", String(120), nullable=False),
)

# What an account stood at when it was closed; provisional where no authenticated statement of the meter is there.
closing = Table(
    "closing",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, primary_key=True, autoincrement=False),
    Column("statement", LargeBinary),  # the meter's report of kind closing
    Column("provisional", Integer, nullable=False),
    Column("closed_s", BigInteger, nullable=False),  # meter time; of a provisional one ours
    Column("import_wh", BigInteger, nullable=False),
    Column("export_wh", BigInteger, nullable=False),
    Column("balance_uc", BigInteger, nullable=False),
    Column("credited_uc", BigInteger, nullable=False),
    Column("charged_uc", BigInteger, nullable=False),
    Column("cause", String(24), nullable=False),
    Column("moved_to", String(80), nullable=False),  # the account that what is left goes to
    Column("taken_s", BigInteger, nullable=False),
)

# Sales found on a meter, under our own signature, that the books do not know: what a restored database had lost.
recovered = Table(
    "recovered",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, primary_key=True, autoincrement=False),
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("total_uc", BigInteger, primary_key=True, autoincrement=False),  # of the source after it
    Column("amount_uc", BigInteger, nullable=False),
    Column("listed", Integer, nullable=False),  # 1: one sale, as the order lists it; 0: part of sales not listed
    Column("evidence", LargeBinary, nullable=False),  # the signed order that was read back, or the report without one
    Column("found_s", BigInteger, nullable=False),
    Column("channel", String(40)),  # the payment, posted again, that it was found to be
    Column("payment_id", String(64)),
)

# What a person has to look at: found by the program, settled by the program or by that person.
finding = Table(
    "finding",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("amount_uc", BigInteger, nullable=False, server_default="0"),
    Column("note", String(200), nullable=False),
    Column("found_s", BigInteger, nullable=False),
    Column("settled_s", BigInteger),
    Index("ix_finding_meter", "meter", "kind"),
    Index(
        "ix_finding_standing",
        "kind",
        "meter",
        sqlite_where=text("settled_s is null"),
        postgresql_where=text("settled_s is null"),
    ),
)

# Orders that were signed in advance with the root key: the next account epochs of a meter, and its retirement.
presigned = Table(
    "presigned",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("aspect", Integer, primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, primary_key=True, autoincrement=False),
    Column("signed", LargeBinary, nullable=False),
    Column("imported_s", BigInteger, nullable=False),
    Column("order_id", ForeignKey("order.id")),  # the order that it was used for
)

# Typed tokens: whose decoder key a meter holds, and what was vended.
decoder = Table(
    "decoder",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("pan", String(18), nullable=False),
    Column("supply_group", Integer, nullable=False),
    Column("key_type", Integer, nullable=False),
    Column("tariff_index", Integer, nullable=False),
    Column("key_revision", Integer, nullable=False),
    Column("key_expiry", Integer, nullable=False),
    Column("base_date", Integer, nullable=False),  # year
    Column("next_tid", BigInteger, nullable=False, server_default="0"),  # lowest one that is free, under this key
    Column("compare_s", BigInteger, server_default="0"),  # when to hold its tokens against the signer's log; null: done
    Index("ix_decoder_pan", "pan"),
    Index(
        "ix_decoder_compare",
        "compare_s",
        sqlite_where=text("compare_s is not null"),
        postgresql_where=text("compare_s is not null"),
    ),
)

token = Table(
    "token",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("supply_group", Integer, nullable=False),
    Column("key_revision", Integer, nullable=False),
    Column("tid", BigInteger, nullable=False),
    Column("class", Integer, nullable=False),
    Column("subclass", Integer, nullable=False),
    Column("register", BigInteger, nullable=False),  # the block's last field but the CRC
    Column("amount_uc", BigInteger, nullable=False),  # worth in the account's unit; 0 for all but credit
    Column("digits", String(20)),  # until the signer has made it: none
    Column("state", String(16), nullable=False),  # tokens.book.STATES
    Column("channel", String(40)),
    Column("payment_id", String(64)),  # of another token than credit: the channel's own id of its request
    Column("order_id", ForeignKey("order.id")),  # the first credit order that names it, to replace or to void it
    Column("actor", String(80), nullable=False),
    Column("issued_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
    Column("used_s", BigInteger),  # meter time
    UniqueConstraint("meter", "supply_group", "key_revision", "tid", "class", "subclass"),
    Index("ix_token_meter", "meter", "state"),
    Index("ix_token_payment", "channel", "payment_id"),
    Index(
        "ix_token_reserved",
        "changed_s",
        sqlite_where=text("state = 'reserved'"),
        postgresql_where=text("state = 'reserved'"),
    ),
)

# A token in the signer's log that this database has lost, as a copy of it was put back.
lost_token = Table(
    "lost_token",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("tid", BigInteger, nullable=False),
    Column("class", Integer, nullable=False),
    Column("subclass", Integer, nullable=False),
    Column("supply_group", Integer, nullable=False),
    Column("key_revision", Integer, nullable=False),
    Column("amount_uc", BigInteger, nullable=False),  # worth in the account's unit; 0 for all but credit
    Column("digits", String(20)),  # none where it was made under a key that this database does not know
    Column("actor", String(80), nullable=False),  # who had it made
    Column("made_s", BigInteger, nullable=False),
    Column("account_epoch", Integer),  # the account that it was typed for,
    Column("used_s", BigInteger),  # … and the meter's time
    Column("token_id", ForeignKey("token.id")),  # the sale, posted again, that it was found to be
    UniqueConstraint("meter", "tid", "class", "subclass"),
)

# Who did what with a token, and what the meter said of it.
token_history = Table(
    "token_history",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("token_id", ForeignKey("token.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("event", String(24), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_token_history_token", "token_id"),
)

# The body of an order whose own body only names it, because it travels apart.
order_body = Table(
    "order_body",
    metadata,
    Column("order_id", ForeignKey("order.id"), primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

order_history = Table(
    "order_history",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("order_id", ForeignKey("order.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("event", String(24), nullable=False),
    Column("state", String(20), nullable=False),
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_order_history_order", "order_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("order_id", ForeignKey("order.id"), primary_key=True, autoincrement=False),
    Column("meter", BigInteger, nullable=False),
    Column("next_s", BigInteger, nullable=False),  # when to act next
    Column("step", String(8), nullable=False, server_default="deliver"),  # what to do then: deliver | ask | receipt
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease", String(40)),
    Column("lease_until_s", BigInteger),
    Index("ix_outbox_next", "next_s"),
    Index("ix_outbox_meter", "meter", "next_s"),
)

question = Table(
    "question",
    metadata,
    Column("nonce", LargeBinary, primary_key=True),
    Column("meter", BigInteger, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("aspect", Integer, nullable=False),
    Column("selector", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("asked_s", BigInteger, nullable=False),
    Column("answered_s", BigInteger),
    Index("ix_question_meter", "meter", "kind"),
)

# Records that the meter no longer holds and that were never stored: told by the meter itself. What turns up leaves it.
lost_range = Table(
    "lost_range",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Integer, primary_key=True, autoincrement=False),  # batches.KIND_INTERVALS | KIND_EVENTS
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("declared_s", BigInteger, nullable=False),
    Column("why", String(120), nullable=False),
)

meter_event = Table(
    "meter_event",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time_s", BigInteger, nullable=False),
    Column("code", Integer, nullable=False),
    Column("boot", Integer, nullable=False),
    Column("import_reg_wh", BigInteger, nullable=False),
    Column("argument", BigInteger, nullable=False),
    Column("detail", Integer, nullable=False),
    sqlite_with_rowid=False,
)
