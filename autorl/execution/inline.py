"""Train in the engine's own process, one run after the other: for debugging, and where processes cannot be started."""

from __future__ import annotations

from autorl.execution import worker
from autorl.execution.protocol import Ended, Event, Order
from autorl.spec.study import StudySpec


class InlineExecutor:
    """Trains while `submit` is called. A crash of the environment is a crash of the engine, and no limit holds."""

    def __init__(self, spec: StudySpec) -> None:
        del spec
        self._events: list[Event] = []

    @property
    def free(self) -> int:
        """One, unless what became of the last order has not been asked for yet."""
        return 0 if self._events else 1

    def submit(self, *orders: Order) -> None:
        """Train the runs to their end."""
        worker.train(orders, self._events.append, lambda: False)
        self._events += [Ended(order.run, "returned") for order in orders]

    def poll(self, seconds: float) -> list[Event]:
        """Return what happened since the last call; there is nothing to wait for."""
        del seconds
        events, self._events = self._events, []
        return events

    def drain(self) -> None:
        """Do nothing: no run outlives `submit`."""

    def close(self) -> None:
        """Do nothing: no run outlives `submit`."""
