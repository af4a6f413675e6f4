"""Who may speak at a broker, and about what: users, certificates and access lists of meters and of head ends.

Written for Mosquitto: its files, and its dynamic security. May import `fleet`, `keys` and `store`; never `web`.
"""
