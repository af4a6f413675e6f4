"""Every operation of the API, one a row."""

from typing import Any

from headend.web import books, health, meters, orders, payments, reads
from headend.web.access import ADMIN, ORDERS, PAYMENTS, READ
from headend.web.bodies_json import LimitsBody, TariffBody
from headend.web.operations import Nothing, Operation
from headend.web.views import MeterDetail

PREFIX = "/api/v1"

_METER = "unknown_meter"

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/payments",
        payments.take_payment,
        scope=PAYMENTS,
        answers={201: payments.Payment, 200: payments.Payment},
        body=payments.PaymentRequest,
        query=Nothing,
        problems=("payment_conflict", _METER),
    ),
    Operation(
        "GET",
        "/payments/{payment_id}",
        payments.get_payment,
        scope=PAYMENTS,
        answers={200: payments.PaymentState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_payment",),
    ),
    Operation(
        "GET",
        "/meters",
        meters.list_meters,
        scope=READ,
        answers={200: meters.MeterPage},
        body=Nothing,
        query=meters.MetersQuery,
    ),
    Operation(
        "POST",
        "/meters",
        meters.post_meter,
        scope=ADMIN,
        answers={201: MeterDetail},
        body=meters.MeterRequest,
        query=Nothing,
        problems=("meter_exists",),
    ),
    Operation(
        "GET",
        "/meters/{meter}",
        meters.get_meter,
        scope=READ,
        answers={200: MeterDetail},
        body=Nothing,
        query=Nothing,
        problems=(_METER,),
    ),
    Operation(
        "POST",
        "/meters/{meter}/disconnect",
        orders.disconnect,
        scope=ORDERS,
        answers={202: orders.OrderState},
        body=orders.DisconnectRequest,
        query=Nothing,
        problems=(_METER,),
    ),
    Operation(
        "POST",
        "/meters/{meter}/connect",
        orders.connect,
        scope=ORDERS,
        answers={202: orders.OrderState},
        body=orders.ConnectRequest,
        query=Nothing,
        problems=(_METER,),
    ),
    Operation(
        "PUT",
        "/meters/{meter}/tariff",
        orders.put_tariff,
        scope=ORDERS,
        answers={202: orders.OrderState},
        body=TariffBody,
        query=Nothing,
        problems=(_METER,),
    ),
    Operation(
        "PUT",
        "/meters/{meter}/limits",
        orders.put_limits,
        scope=ORDERS,
        answers={202: orders.OrderState},
        body=LimitsBody,
        query=Nothing,
        problems=(_METER,),
    ),
    Operation(
        "GET",
        "/meters/{meter}/orders",
        orders.list_orders,
        scope=READ,
        answers={200: orders.OrderPage},
        body=Nothing,
        query=orders.OrdersQuery,
        problems=(_METER,),
    ),
    Operation(
        "GET",
        "/meters/{meter}/intervals",
        reads.list_intervals,
        scope=READ,
        answers={200: reads.IntervalPage},
        body=Nothing,
        query=reads.IntervalsQuery,
        problems=(_METER,),
    ),
    Operation(
        "GET",
        "/meters/{meter}/reconciliation",
        books.get_reconciliation,
        scope=READ,
        answers={200: books.Reconciliation},
        body=Nothing,
        query=Nothing,
        problems=(_METER,),
    ),
    Operation(
        "GET",
        "/orders/{order}",
        orders.get_order,
        scope=READ,
        answers={200: orders.OrderState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_order",),
    ),
    Operation(
        "GET", "/health", health.get_health, scope=None, answers={200: health.Health}, body=Nothing, query=Nothing
    ),
    Operation(
        "GET",
        "/ready",
        health.get_ready,
        scope=None,
        answers={200: health.Readiness, 503: health.Readiness},
        body=Nothing,
        query=Nothing,
    ),
)
