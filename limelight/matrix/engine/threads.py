"""Threads over panels, and over row blocks where panels are few; the readings are the same to the bit.

A panel's row blocks are read in any order, by any worker, and taken into the states in their own order, so no
sum depends on how many workers there are. Each worker computes on one thread: threads inside a tile wait for
each other longer than they work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import torch

from limelight.matrix.engine.precision import full_float32

Panel = TypeVar("Panel")
Room = TypeVar("Room")
Found = TypeVar("Found")
InRoom = TypeVar("InRoom", contravariant=True)

WORTH_A_THREAD = 2**18  # entries; with fewer a matrix is read before a thread has begun


class PanelReader(Protocol[InRoom, Found]):
    """Reads one panel of the matrix, row block by row block."""

    def read(self, i0: int, i1: int, room: InRoom) -> Found:
        """What rows i0:i1 give. Runs beside others, so it writes into nothing but the worker's own room."""

    def take(self, found: Found) -> None:
        """Bring it into the states. One at a time in each panel, in the order of the row blocks."""


def how_many(entries: int, device: torch.device) -> int:
    """The workers for a matrix of so many entries: as many as PyTorch has threads, on the CPU."""
    if device.type != "cpu" or entries < WORTH_A_THREAD:
        return 1
    return torch.get_num_threads()


def read_all(
    panels: Sequence[Panel],
    blocks: Sequence[tuple[int, int]],
    open_panel: Callable[[Panel], PanelReader[Room, Found]],
    make_room: Callable[[], Room],
    workers: int,
    device: torch.device,
) -> None:
    """Read all blocks of all panels, with a room for each worker.

    As many panels as the workers can share evenly are read by one worker each; at the rest they work together.
    """
    alone = len(panels) // workers * workers
    crew = _Crew(iter(panels[:alone]))
    together = [_Shared(panel, open_panel, blocks, crew) for panel in panels[alone:]]

    def work() -> None:
        room = make_room()
        for panel in crew.panels():
            reader = open_panel(panel)
            for i0, i1 in blocks:
                if crew.stopped:
                    return
                reader.take(reader.read(i0, i1, room))
        for shared in together:
            shared.work(room)

    if workers == 1 or not panels:
        with _one_thread_each(device):
            work()
        return
    inference = torch.is_inference_mode_enabled()

    def guarded() -> None:  # these settings are a thread's own
        _one_thread_here()
        with torch.inference_mode(inference), exactly(device):
            try:
                work()
            except BaseException:
                crew.stop()
                raise

    with _one_thread_each(device), ThreadPoolExecutor(workers) as pool:
        try:
            for each in [pool.submit(guarded) for _ in range(workers)]:
                each.result()
        except BaseException:  # Control-C reaches this thread only
            crew.stop()
            raise


class _Crew(Generic[Panel]):
    """The panels that are still to be read, and whether to go on."""

    def __init__(self, waiting: Iterator[Panel]) -> None:
        self.stopped = False
        self.turn = threading.Condition()
        self._waiting = waiting

    def panels(self) -> Iterator[Panel]:
        while not self.stopped:
            with self.turn:
                panel = next(self._waiting, None)
            if panel is None:
                return
            yield panel

    def stop(self) -> None:
        with self.turn:
            self.stopped = True
            self.turn.notify_all()


class _Shared(Generic[Panel, Room, Found]):
    """A panel whose row blocks go to whoever is free."""

    def __init__(
        self,
        panel: Panel,
        open_panel: Callable[[Panel], PanelReader[Room, Found]],
        blocks: Sequence[tuple[int, int]],
        crew: _Crew[Panel],
    ) -> None:
        self._panel = panel
        self._open_panel = open_panel
        self._blocks = blocks
        self._crew = crew
        self._opening = threading.Lock()
        self._reader: PanelReader[Room, Found] | None = None
        self._given = self._taken = 0

    def work(self, room: Room) -> None:
        """Read blocks until none is left."""
        crew = self._crew
        while True:
            with self._opening:
                if crew.stopped or self._given == len(self._blocks):
                    return
                if self._reader is None:
                    self._reader = self._open_panel(self._panel)
                reader, mine = self._reader, self._given
                self._given += 1
            found = reader.read(*self._blocks[mine], room)
            with crew.turn:
                while not crew.stopped and self._taken != mine:
                    crew.turn.wait()
                if crew.stopped:
                    return
            reader.take(found)
            with crew.turn:
                self._taken += 1
                if self._taken == len(self._blocks):
                    self._reader = None  # its keys may be large
                crew.turn.notify_all()


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """No gradient, no autocast and no TF32: they would round the tiles to low precision."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False), full_float32(device):
        yield


def _one_thread_here() -> None:
    """A thread that asks PyTorch for its number of threads for the first time is given the last one that any
    thread has set, perhaps another reading's that has just ended; so ask first, then set.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)


_guard = threading.Lock()
_inside = 0
_before = 1


@contextmanager
def _one_thread_each(device: torch.device) -> Iterator[None]:
    """One thread inside each operation, until the last reading that asked for it has ended.

    The setting is one for the process, so two readings at once must not each take the other's for the user's.
    """
    global _inside, _before
    if device.type != "cpu":
        yield
        return
    with _guard:
        if _inside == 0:
            _before = torch.get_num_threads()
        _inside += 1
        _one_thread_here()
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            torch.set_num_threads(_before)
