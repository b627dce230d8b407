"""Both homes of one pipeline, told the same story; then asked whether the same is there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from headrace.model.loads import Event

from .deployed import Role, Stack, wait_until
from .embedded import Embedded
from .facts import Facts


class Both:
    """A pipeline in both homes; one folder of it, and the values of `k` from `zero` on, belong to this story alone."""

    def __init__(self, stack: Stack, twin: Embedded, folder: str, zero: int) -> None:
        self.stack, self.twin, self.zero = stack, twin, zero
        self.name = twin.pipeline.name
        self.prefix = f"{twin.pipeline.source.prefix}{folder}/"

    # -- what happens ------------------------------------------------------------------------------------------------

    def put(self, name: str, rows: str) -> None:
        """Let `name` hold these rows `k,v`, separated by spaces."""
        cells = [row.partition(",") for row in rows.split()]
        text = "\n".join(["k,v", *(f"{self.zero + int(k)}{comma}{v}" for k, comma, v in cells)]) + "\n"
        self.put_bytes(name, text.encode())

    def put_bytes(self, name: str, body: bytes) -> None:
        key = f"{self.prefix}{name}"
        self.twin.put(key, body, self.stack.put(key, body))

    def delete(self, name: str) -> None:
        self.stack.delete(f"{self.prefix}{name}")
        self.twin.delete(f"{self.prefix}{name}")

    def redrive(self, *names: str) -> None:
        """As `headrace dlq redrive` asks for it."""
        keys = [f"{self.prefix}{name}" for name in names]
        self.stack.home(self.name).queue.put([Event(self.name, key, "redrive") for key in keys])
        self.twin.redrive(keys)

    @contextmanager
    def crashes(self, role: Role, fault: str, timeout: int | None = None) -> Any:
        """A function that dies whenever it passes the fault point; at the end of the block it has happened."""
        function: str = getattr(self.stack.of(self.name), role)
        before = self.stack.failures(function)
        with self.stack.crashing(self.name, role, fault, timeout):
            yield
            wait_until(lambda: self.stack.failures(function) > before, f"{function} to crash at {fault}")
        self.stack.let_leases_end(self.name)

    # -- what is there -----------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        try:
            self.stack.quiet(self.name, patience=30)
        except AssertionError:  # somebody was killed who held a lease: let so much time pass
            self.stack.let_leases_end(self.name)
            self.stack.quiet(self.name)
        self.twin.quiet()

    def same(self) -> Facts:
        """Wait until both are quiet, hold them against each other, and return what is there."""
        self.quiet()
        aws, here = self.stack.facts(self.name, self.prefix), self.twin.facts(self.prefix)
        assert aws == here, f"AWS (here) and embedded (there) differ:\n{aws.differences(here)}"
        return aws

    def rows(self, found: Facts) -> dict[int, int]:
        """k → v of what the sinks hold, both the same."""
        shown = {dict(row)["k"] - self.zero: dict(row)["v"] for row in found.lake}
        items = {dict(row)["k"] - self.zero: dict(row)["v"] for row in found.items}
        assert shown == items, f"the lake has {shown}, the items are {items}"
        return shown

    def states(self, found: Facts) -> dict[str, str]:
        """Name → state of each object."""
        return {key.removeprefix(self.prefix): told[0] for key, told in found.loads.items()}


Story = Callable[[str], Both]
