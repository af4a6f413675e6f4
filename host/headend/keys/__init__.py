"""Keys, and the signer that alone uses the private ones.

`keystore.py` holds them in memory, `sealed.py` on disk (encrypted), `signer.py` signs committed statements under a cap
and into its own log, `provision.py` makes what a meter is given at commissioning, `cli.py` is `openprepay keys`.
"""
