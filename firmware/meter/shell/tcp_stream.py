"""A TCP or TLS connection with one behaviour on CPython and MicroPython, for one reader and one writer.

    stream = await open_stream(host, port, tls)   tls: None, or (context, server name that its certificate must carry)
    n = await stream.read_into(buffer)            bytes read into a bytearray; 0: the peer ended the stream
    await stream.write(data)                      returns when the system has taken all of it
    stream.drop()                                 closes at once, without waiting; may be called twice

Nothing here has a time limit: who calls sets it. A cancelled `write` leaves the stream unusable (half a TLS record may
be out): drop it. Every failure is an OSError; `is_tls_error(error)` tells those of the TLS session.

Why not asyncio.open_connection on MicroPython: it keeps the socket to itself, so that a refused certificate, a wait
that is cut short and a failing connect each leave a socket open, of which a board has about ten. Name resolution blocks
on MicroPython: where that matters, give the address as host and the name in `tls`.
"""

import asyncio
import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    import socket
    from binascii import a2b_base64
    from errno import EINPROGRESS

    import tls as tls_module

    _CERTIFICATE_REFUSED = -0x2700  # MBEDTLS_ERR_X509_CERT_VERIFY_FAILED, which MicroPython raises as ValueError
else:
    import ssl as tls_module
    import tempfile


def tls_context(ca, cert=None, key=None):
    """A client context that demands a certificate issued by `ca`, for the name that is connected to, valid today.

    Each argument: the path of a file (str) or its content (bytes), PEM, on MicroPython also DER; `cert` and `key`
    (unencrypted) are our own and go together. Of `cert` MicroPython takes the first certificate alone, so `ca`, or the
    broker's list, has to hold its issuer. Dates are compared with the system's clock: a board sets its clock before it
    connects. Raises OSError (no such file) or ValueError (no certificate, no key).
    """
    context = tls_module.SSLContext(tls_module.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls_module.CERT_REQUIRED  # type: ignore[attr-defined]
    _load(context, _content(ca), _content(cert), _content(key))
    return context


def _content(source):
    """bytes as they are; a str is the path of a file."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            return file.read()
    return source


if MICROPYTHON:

    def _load(context, ca, cert, key):
        for certificate in _ders(ca, b"CERTIFICATE"):
            context.load_verify_locations(certificate)
        if cert is not None:
            context.load_cert_chain(_ders(cert, b"CERTIFICATE")[0], _ders(key, b"PRIVATE KEY")[0])

    def _ders(content, label):
        """DER of each PEM block whose label ends so, at least one: mbedTLS is built without PEM on some ports."""
        if b"-----BEGIN " not in content:
            return [content]
        blocks = [block.partition(b"-----") for block in content.split(b"-----BEGIN ")[1:]]
        found = [a2b_base64(rest.split(b"-----END")[0]) for name, _, rest in blocks if name.endswith(label)]
        if not found:
            raise ValueError("PEM without a block named {}".format(label.decode()))
        return found

    def is_tls_error(error):
        """Whether an OSError out of this module is about the TLS session and not the connection under it."""
        return (error.errno or 0) < 0  # a code of mbedTLS; an errno is above 0

    def _writable(sock):
        yield asyncio.core._io_queue.queue_write(sock)  # type: ignore[attr-defined]

    class _Stream:
        def __init__(self, raw):
            self._raw = raw
            self._wrap(raw)

        def _wrap(self, sock):
            self._sock = sock  # the raw one, or the TLS session on it
            self._reader = asyncio.StreamReader(sock)
            self._writer = asyncio.StreamWriter(sock, {})

        def secure(self, tls):
            context, name = tls
            sock = context.wrap_socket(self._raw, server_hostname=name, do_handshake_on_connect=False)
            sock.setblocking(False)
            self._wrap(sock)

        async def read_into(self, buffer):
            try:
                while True:
                    count = await self._reader.readinto(buffer)
                    if count is not None:  # None: part of a TLS record came
                        return count
            except ValueError as error:
                raise OSError(_CERTIFICATE_REFUSED, str(error))

        async def write(self, data):
            try:
                self._writer.write(data)
                await self._writer.drain()
            except ValueError as error:
                raise OSError(_CERTIFICATE_REFUSED, str(error))

        def drop(self):
            for sock in (self._sock, self._raw):
                try:
                    sock.close()
                except OSError:  # a TLS goodbye on a dead link
                    pass

    async def open_stream(host, port, tls=None):
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        raw = socket.socket(family, kind, protocol)
        stream = _Stream(raw)
        try:
            raw.setblocking(False)
            try:
                raw.connect(address)
            except OSError as error:
                if error.errno != EINPROGRESS:
                    raise
            await _writable(raw)
            if tls is not None:
                stream.secure(tls)
        except BaseException:
            stream.drop()
            raise
        return stream

else:

    def _load(context, ca, cert, key):
        try:
            context.load_verify_locations(cadata=ca.decode("ascii"))
            if cert is not None:
                with tempfile.NamedTemporaryFile() as file:  # its owner's alone; the one way that there is
                    file.write(cert + b"\n" + key)
                    file.flush()
                    context.load_cert_chain(file.name)
        except tls_module.SSLError as error:
            raise ValueError("TLS certificate or key: PEM was expected: {}".format(error)) from None

    def is_tls_error(error):
        return isinstance(error, tls_module.SSLError)

    class _Stream:
        def __init__(self, reader, writer):
            self._reader = reader
            self._writer = writer

        async def read_into(self, buffer):
            data = await self._reader.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

        async def write(self, data):
            self._writer.write(data)
            await self._writer.drain()

        def drop(self):
            self._writer.transport.abort()

    async def open_stream(host, port, tls=None):
        context, name = tls if tls is not None else (None, None)
        return _Stream(*await asyncio.open_connection(host, port, ssl=context, server_hostname=name))
