"""Worker: one computing thread with a bounded queue; jobs that nobody waits for are cancelled.

Equal questions that wait at the same time are one job. A job asks between its parts whether to go on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from limelight.errors import LimelightError

WAITING = 512
"""Jobs in the queue; one more is refused."""
ENDING = 2.0
"""Seconds that a job is given to end when the server does."""
SECONDS = 60.0
"""What a job may take, from when it is begun."""

GoOn = Callable[[], None]
Make = Callable[[GoOn], Any]


class QueueFullError(LimelightError):
    """The queue is full: ask again later."""


class JobTimeoutError(LimelightError):
    """The job took longer than it may."""


class JobCancelledError(LimelightError):
    """Nobody waits for the job any more."""


@dataclass(eq=False)
class Job:
    """One question that is being answered, and how many wait for it."""

    key: str
    make: Make
    result: Future[Any] = field(default_factory=Future)
    waiting: int = 0
    deadline: float | None = None

    def go_on(self) -> None:
        """Raises where it shall end early."""
        if self.waiting == 0:
            raise JobCancelledError("Nobody waits for this any more.")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise JobTimeoutError(
                f"This took longer than {SECONDS:.0f} seconds. Zoom in, or choose fewer heads or a smaller unit."
            )


class Worker:
    """Computes one job after the other, in a thread of its own."""

    def __init__(self, most: int = WAITING, seconds: float = SECONDS) -> None:
        self.most, self.seconds = most, seconds
        self._queue: deque[Job] = deque()
        self._jobs: dict[str, Job] = {}
        self._turn = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="limelight-worker", daemon=True)
        self._thread.start()

    async def do(self, key: str, make: Make, gone: asyncio.Event) -> Any:
        """The job's result. Raises QueueFullError at once, JobCancelledError when `gone` is set while it waits."""
        job, loop, ended = self._join(key, make), asyncio.get_running_loop(), asyncio.Event()

        def tell(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it who asked
                loop.call_soon_threadsafe(ended.set)

        # Not asyncio.wrap_future: who leaves would cancel the result of all who wait for the same.
        job.result.add_done_callback(tell)
        waits = [asyncio.ensure_future(event.wait()) for event in (ended, gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if job.result.done():
                return job.result.result()
            raise JobCancelledError("The one who asked has gone.")
        finally:
            for wait in waits:
                wait.cancel()
            with self._turn:
                job.waiting -= 1

    def stop(self) -> None:
        """End the thread after the job that it is at, which is told to end."""
        with self._turn:
            self._stopped = True
            for job in self._jobs.values():
                job.waiting = 0
            self._turn.notify_all()
        self._thread.join(ENDING)

    def _join(self, key: str, make: Make) -> Job:
        with self._turn:
            job = self._jobs.get(key)
            if job is None or job.waiting == 0:
                if len(self._queue) >= self.most:
                    raise QueueFullError(f"{len(self._queue)} questions wait already. Ask again in a moment.")
                job = self._jobs[key] = Job(key, make)
                self._queue.append(job)
                self._turn.notify()
            job.waiting += 1
            return job

    def _work(self) -> None:
        while True:
            with self._turn:
                while not self._queue and not self._stopped:
                    self._turn.wait()
                if self._stopped:
                    return
                job = self._queue.popleft()
            job.deadline = time.monotonic() + self.seconds
            try:
                job.go_on()
                made, failed = job.make(job.go_on), None
            except BaseException as error:  # goes to those who wait
                made, failed = None, error
            with self._turn:
                if self._jobs.get(job.key) is job:
                    del self._jobs[job.key]
            if failed is None:
                job.result.set_result(made)
            else:
                job.result.set_exception(failed)
