"""MicroPython's `cryptolib` on CPython, as far as drivers use it: AES in ECB mode. (Its `vfs` has nothing here.)"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB


class aes:  # noqa: N801 - its name
    def __init__(self, key, mode):
        assert mode == 1
        self._cipher = Cipher(AES(key), ECB())

    def encrypt(self, data):
        return self._cipher.encryptor().update(bytes(data))

    def decrypt(self, data):
        return self._cipher.decryptor().update(bytes(data))
