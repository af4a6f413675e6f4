"""The provisioning record of a meter, from the key store. It holds the meter's own key: it goes to the meter only."""

from headend.keys.holder import KeyHolder
from headend.refusals import Refused
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT
from meterlink.provision import Provision, ProvisionError

ROLES = (ROLE_ROOT, ROLE_CREDIT, ROLE_CONTROL)


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
) -> bytes:
    """The encoded record: the meter's key, the newest public key of each role, tariff and limits.

    Ranges as in `meterlink.provision`; `imp_per_kwh` is the meter's pulse constant. Raises Refused, NoSuchKey.
    """
    names = [keys.newest(role) for role in ROLES]
    public = tuple((name.role, name.version, keys.public_key(name)) for name in names)
    tag_key = keys.meter_key(meter, tag_key_version)
    try:
        return Provision(
            meter=meter,
            account_epoch=account_epoch,
            tag_key_version=tag_key_version,
            tag_key=tag_key,
            imp_per_kwh=imp_per_kwh,
            interval_minutes=interval_minutes,
            currency=currency,
            keys=public,
            limits=limits,
            tariff=tariff,
        ).encode()
    except ProvisionError as error:
        raise Refused("meter", meter, f"a meter that can be provisioned ({error})") from error
