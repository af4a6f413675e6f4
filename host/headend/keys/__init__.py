"""Keys, and the signer that alone uses the private ones.

`holder.py` says what may be asked of keys wherever they live; `place.py` finds that place. `base.py` and `state.py` are
what all places share, `keystore.py` is the encrypted file (`sealed.py`), `hsm.py` the security module, `root.py` the
root key's file, which `custodians.py` opens together. `signer*.py` sign committed statements under caps and into a log
of their own, `provision.py` makes what a meter is given at commissioning, `cli.py` is `openprepay keys`.
"""
