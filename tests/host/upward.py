"""What stands for the engine behind a link in tests: a function that takes one message at a time."""

from collections.abc import Callable, Sequence

from headend.links.port import Message, Up


def singly(take: Callable[[int, str, bytes], None]) -> Up:
    """As the engine takes several: each by itself, and what it raises is its own."""

    def one(message: Message) -> BaseException | None:
        try:
            take(*message)
        except Exception as error:  # noqa: BLE001 - the test that made it waits for it
            return error
        return None

    def up(messages: Sequence[Message]) -> Sequence[BaseException | None]:
        return [one(message) for message in messages]

    return up
