"""How the head end presents itself to a broker: its settings, and what they make of TLS and of a paho client."""

import ssl
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from headend.refusals import Refused
from meterlink import topics

V5 = "5"
V311 = "3.1.1"  # for brokers that speak nothing else: no message expiry, no reasons in acknowledgements
VERSIONS = (V5, V311)

ALL_SHARDS = frozenset(range(topics.SHARDS))
MAX_PAYLOAD = 4096  # bytes; the longest that a meter says is a batch of 1 016
_MAX_PACKET = MAX_PAYLOAD + 256


@dataclass(frozen=True)
class MqttOptions:
    """A broker, and one persistent session on it.

    The session is `client_id`'s: whoever comes with the same one is given what was not acknowledged, and puts an
    earlier holder out. `shards`: those whose meters it hears (meterlink.topics).
    """

    host: str
    port: int
    client_id: str
    version: str = V5
    tls: bool = False
    ca: str = ""  # PEM files; without `ca` the system's authorities count
    certificate: str = ""
    key: str = ""
    shards: frozenset[int] = ALL_SHARDS
    keepalive_s: int = 30
    session_expiry_s: int = 7 * 86_400  # how long a broker keeps the session of a head end that is away
    window: int = 2_000  # messages that may be with us unacknowledged, committed together; brokers presume 20
    in_flight: int = 200  # publications of ours without acknowledgement, where the broker allows as many
    queued: int = 10_000  # publications of ours that may wait
    max_packet: int = _MAX_PACKET  # bytes; what is longer the broker does not give us
    answer_s: float = 10.0  # for a connection, a subscription, an acknowledgement
    first_wait_s: float = 0.5  # before connecting again; doubles each time …
    longest_wait_s: float = 60.0  # … up to this

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise Refused("mqtt_version", self.version, f"one of {', '.join(VERSIONS)}")
        if not self.shards or not self.shards <= ALL_SHARDS:
            raise Refused("mqtt_shards", sorted(self.shards), f"some of 0..{topics.SHARDS - 1}")
        if bool(self.certificate) != bool(self.key):
            raise Refused("mqtt_key", self.key, "a certificate and its key, or neither")

    @classmethod
    def of_url(cls, url: str, client_id: str, **others: Any) -> Self:
        """From mqtt://HOST:PORT or mqtts://HOST:PORT; `others` are fields by name."""
        expected = "mqtt://HOST:PORT or mqtts://HOST:PORT"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise Refused("mqtt_url", url, expected) from None
        if parts.scheme not in ("mqtt", "mqtts") or not host or port == 0:
            raise Refused("mqtt_url", url, expected)
        tls = parts.scheme == "mqtts"
        return cls(host, port or (8883 if tls else 1883), client_id, tls=tls, **others)

    @property
    def filters(self) -> list[str]:
        """The topic filters of the shards."""
        return [f"op/1/{shard:02d}/+/up/#" for shard in sorted(self.shards)]

    def tls_context(self) -> ssl.SSLContext | None:
        """None without TLS; raises OSError (also ssl.SSLError) where a file does not serve."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self, *, lasting: bool = True, kind: type[Client] = Client) -> Client:
        """A paho client for one connection; raises OSError (also ssl.SSLError) where a file does not serve.

        `lasting`: 3.1.1 says here already whether its session outlives it, MQTT 5 when it connects.
        """
        five = self.version == V5
        client = kind(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            clean_session=None if five else not lasting,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self.answer_s
        client.max_inflight_messages_set(0)  # no limit of paho's own: the session keeps to the broker's
        context = self.tls_context()
        if context is not None:
            client.tls_set_context(context)
        return client

    def connect(self, client: Client) -> None:
        """Open the connection and send CONNECT; raises OSError."""
        if self.version == V311:
            client.connect(self.host, self.port, self.keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self.session_expiry_s
        properties.ReceiveMaximum = self.window
        properties.MaximumPacketSize = self.max_packet
        client.connect(self.host, self.port, self.keepalive_s, clean_start=False, properties=properties)

    def subscribe(self, client: Client) -> None:
        """Ask for the shards. MQTT 5 sends the retained births once for a session, 3.1.1 at each connection."""
        if self.version == V311:
            client.subscribe([(one, 1) for one in self.filters])
            return
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe([(one, options) for one in self.filters])
