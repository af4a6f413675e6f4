"""The steps of the demo in order: name (as `--until` and failures call it), title, function."""

from collections.abc import Callable

from openprepay.demo import steps_books, steps_life, steps_orders
from openprepay.demo.story import Story
from openprepay.demo.texts import Text

Step = Callable[[Story], None]

STEPS: tuple[tuple[str, Text, Step], ...] = (
    ("boot", ("Meters start and are heard", "电表启动并上线"), steps_life.boot),
    ("first-credit", ("Everybody pays once", "首次购电"), steps_life.first_credit),
    ("consumption", ("The households use electricity, as the profile says", "按负荷曲线用电"), steps_life.consumption),
    ("alarm", ("The credit runs low", "余额不足报警"), steps_life.alarm),
    ("zero", ("The credit is used up", "余额用尽"), steps_life.zero),
    ("cut-off", ("The relay opens", "继电器断开"), steps_life.cut_off),
    ("payment", ("A payment: signed, accepted, confirmed", "支付：签名、受理、确认"), steps_life.payment),
    ("reconnection", ("The relay closes again", "继电器重新闭合"), steps_life.reconnection),
    ("disconnect", ("The operator disconnects", "操作员断电"), steps_orders.disconnect),
    ("connect", ("The operator connects", "操作员复电"), steps_orders.connect),
    ("repeats", ("Orders that come again change nothing", "重复命令无效果"), steps_orders.repeats),
    ("forgery", ("Forged orders are refused", "伪造命令被拒绝"), steps_orders.forgery),
    ("intervals", ("Every interval record is there, once", "区间记录完整且不重复"), steps_books.intervals),
    ("ledger", ("The ledger equals the meters", "账簿与电表一致"), steps_books.ledger),
    ("memory", ("What MicroPython used", "MicroPython 内存"), steps_books.memory),
)

NAMES = tuple(name for name, _, _ in STEPS)
