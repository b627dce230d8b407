"""A worker's hands: one job is in the child while the next is prepared. Used by `loop`; a function has no next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from headrace.engine.failing import MOVING, delay_of
from headrace.engine.home import Home
from headrace.engine.ingest import Child, conclude, give_back, patience, rounds, stage
from headrace.engine.job import Job
from headrace.engine.together import Found, job_of, leases_of
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Lease


class Hands:
    """A worker's hands: the child stages one job while the next is looked up, copied and hashed.

    `told` hears of every pipeline whose loads were staged, and how many.
    """

    def __init__(self, child: Child, told: Callable[[Home, int], None]) -> None:
        self._child, self._told = child, told
        self._job: tuple[Home, list[Found], Job, float] | None = None

    def take(self, home: Home, leases: Sequence[Lease]) -> None:
        """Prepare events and begin to stage them, once what was begun earlier is done."""
        for number, batch in enumerate(rounds(home, leases)):
            for i, found in enumerate(batch.jobs):
                try:
                    self.finish()
                    if number or i:  # those before took their time: what is left would come back meanwhile
                        left = [lease for job in batch.jobs[i:] for lease in leases_of(job)]
                        home.queue.extend([*left, *batch.rest], patience(home))
                    self._begin(home, found)
                except BaseException:
                    home.queue.release(batch.rest, MOVING)
                    for other in batch.jobs[i:]:
                        give_back(home, other, delay_of(home, leases_of(other)))
                    raise

    def _begin(self, home: Home, found: list[Found]) -> None:
        started, job = time.perf_counter(), job_of(home, found)
        try:
            self._child.submit("stage", job.to_dict(), home.settings.child_timeout)
        except InfrastructureError:
            self._told(home, stage(home, self._child, found))  # it had died while it was idle: a fresh one does it
            return
        self._job = (home, found, job, started)

    def finish(self) -> bool:
        """Take what is in the child to its end; False if nothing was."""
        if self._job is None:
            return False
        (home, found, job, started), self._job = self._job, None
        self._told(home, conclude(home, self._child, found, job, self._child.result, started))
        return True
