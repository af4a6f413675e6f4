"""Tables of personal data: sealed under a key per person. All other tables name a person by the pseudonym alone."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, text

from headend.store.columns import RowId, metadata

# Stays when a person is erased: what refers to it keeps its sense.
person = Table(
    "person",
    metadata,
    Column("pseudonym", String(26), primary_key=True),  # 128 random bits, base32
    Column("version", Integer, nullable=False, server_default="1"),  # raised by each change
    Column("created_s", BigInteger, nullable=False),
    Column("erased_s", BigInteger),
)

# A person's data key, sealed under a key that is not in this database. Erasing a person deletes it.
person_key = Table(
    "person_key",
    metadata,
    Column("pseudonym", ForeignKey("person.pseudonym"), primary_key=True),
    Column("wrapping", Integer, nullable=False),  # version of the key that it is sealed under
    Column("sealed", LargeBinary, nullable=False),  # nonce, AES-256-GCM
    Index("ix_person_key_wrapping", "wrapping"),
)

person_field = Table(
    "person_field",
    metadata,
    Column("pseudonym", ForeignKey("person.pseudonym"), primary_key=True),
    Column("field", String(16), primary_key=True),  # people.fields.FIELDS
    Column("sealed", LargeBinary, nullable=False),  # nonce, AES-256-GCM under the person's key
    Column("set_s", BigInteger, nullable=False),
)

# To find a person by a value without knowing it: an HMAC of the value, under a key that is not in this database.
person_index = Table(
    "person_index",
    metadata,
    Column("pseudonym", ForeignKey("person.pseudonym"), primary_key=True),
    Column("field", String(16), primary_key=True),
    Column("blind", LargeBinary, nullable=False),
    Index("ix_person_index_blind", "field", "blind"),
)

# Whose account it is.
holding = Table(
    "holding",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("pseudonym", ForeignKey("person.pseudonym"), nullable=False),
    Column("since_s", BigInteger, nullable=False),
    Column("until_s", BigInteger),
    Index("ix_holding_pseudonym", "pseudonym"),
    Index("ix_holding_meter", "meter", "account_epoch"),
    Index(
        "uq_holding_open",
        "meter",
        "account_epoch",
        unique=True,
        sqlite_where=text("until_s is null"),
        postgresql_where=text("until_s is null"),
    ),
)
