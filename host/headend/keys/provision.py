"""The provisioning record of a meter, from the key store. It holds the meter's own keys: it goes to the meter only."""

from pathlib import Path

from headend.keys.holder import BENCH, KeyHolder, KeyName, VendingName
from headend.keys.sealed import KeyFileError, read_secret, write_secret
from headend.refusals import Refused
from headend.tokens.decoder import Decoder
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT
from meterlink.provision import MAX_KEYS, USE_BENCH, USE_PRODUCTION, Provision, ProvisionError
from meterlink.sts import dkga04

ROLES = (ROLE_ROOT, ROLE_CREDIT, ROLE_CONTROL)
_OF_EACH = MAX_KEYS // len(ROLES)


def public_keys(keys: KeyHolder, of_each: int = _OF_EACH) -> tuple[tuple[int, int, bytes], ...]:
    """(role, version, X||Y) of the newest `of_each` keys in force of each role: those whose orders a meter is to take.

    Raises NoSuchKey where a role has none.
    """
    names: list[KeyName] = []
    for role in ROLES:
        keys.newest(role)
        names += [name for name in keys.names() if name.role == role][-of_each:]
    return tuple((name.role, name.version, keys.public_key(name)) for name in names)


def decoder_key(keys: KeyHolder, decoder: Decoder) -> bytes:
    """The key of typed tokens (16 bytes) that is bound to these attributes. Raises Refused, NoSuchKey."""
    return keys.decoder_key(
        VendingName(decoder.supply_group, decoder.key_revision), dkga04.message(decoder.attributes())
    )


def provision_record(
    keys: KeyHolder,
    *,
    meter: int,
    account_epoch: int,
    tag_key_version: int,
    interval_minutes: int,
    limits: bytes,
    tariff: bytes,
    currency: int,
    imp_per_kwh: int,
    decoder: Decoder | None = None,
) -> bytes:
    """The encoded record: the meter's key, the public keys in force, tariff and limits, and with `decoder` the key of
    typed tokens.

    Ranges as in `meterlink.provision`; `imp_per_kwh` is the meter's pulse constant. The same arguments and keys give
    the same bytes. Raises Refused, NoSuchKey.
    """
    public = public_keys(keys)
    tag_key = keys.meter_key(meter, tag_key_version)
    try:
        return Provision(
            meter=meter,
            account_epoch=account_epoch,
            signing_epoch=keys.signing_epoch,
            tag_key_version=tag_key_version,
            tag_key=tag_key,
            imp_per_kwh=imp_per_kwh,
            interval_minutes=interval_minutes,
            currency=currency,
            keys=public,
            limits=limits,
            tariff=tariff,
            use=USE_BENCH if keys.use == BENCH else USE_PRODUCTION,
            decoder=None if decoder is None else (decoder_key(keys, decoder), decoder.on_meter()),
        ).encode()
    except ProvisionError as error:
        raise Refused("meter", meter, f"a meter that can be provisioned ({error})") from error


def is_written(path: Path, record: bytes) -> bool:
    """Whether this very record lies there already. Raises KeyFileError where something else does."""
    if not path.exists():
        return False
    if read_secret(path) != record:
        raise KeyFileError(f"{path} is there already and holds another record; it is not overwritten.")
    return True


def write_record(path: Path, record: bytes) -> bool:
    """Write a record (mode 0600), whole or not at all; False where it lies there already.

    Raises KeyFileError where something else does, or the file cannot be written.
    """
    if is_written(path, record):
        return False
    write_secret(path, record)
    return True
