"""Whose account it is. Personal data lies sealed under a key per person; everything else knows pseudonyms alone.

The keys of persons are sealed in turn under a key that lies in a file outside the database (`keyring`): a copy of the
database alone tells nobody's name. To erase a person is to delete that person's key. Reading is audited.
"""
