"""The links to the meters: carriers that move bytes, and believe and decide nothing.

`port` is what the service needs of a carrier, `upward` the way up; `modbus` and `mqtt` are the two there are. Under
`modbus` lie `bus` (one transaction at a time on one line; pymodbus), `turns`, `blocks` (the register map decoded),
`meter` (orders, questions and records of one meter) and `failures`; under `mqtt` lie `mqtt_options`, `mqtt_session`,
`mqtt_connection` (paho, on a `stream`). May import `headend.clock`, `headend.fleet.address`,
`headend.orders.actions`, `headend.refusals` and `meterlink`; the field tool imports this package and nothing else of
the head end.
"""
