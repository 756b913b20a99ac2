"""The same training in two processes: each has a batch, and the gradients are shared (torch.distributed, gloo).

Both processes live from beginning to end. In every round the first one makes an update by itself while the other
waits, then both make one together.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

PROCESSES, LENGTH = 2, 512
"""How many, and how long their texts are."""


def processes(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """The seconds of an update of each rival, by one process and by both together."""
    meeting, written = folder / "meeting", folder / "processes.json"
    meeting.unlink(missing_ok=True)
    spawn(_process, (str(meeting), str(written), rounds), nprocs=PROCESSES)
    places: list[dict[str, Any]] = json.loads(written.read_text())
    return places


def _process(rank: int, meeting: str, written: str, rounds: int) -> None:
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from experiments.efficiency.experiment import TOKENS, build, rivals, step_of, texts

    torch.set_num_threads(1)
    store = distributed.FileStore(meeting, PROCESSES)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    ids_BN = texts(TOKENS["cpu"] // LENGTH, LENGTH, "cpu")
    places = []
    for rival in rivals("cpu"):
        alone, shared = build(rival.shape), build(rival.shape)
        by_itself = step_of(alone, alone)
        together = step_of(shared, DistributedDataParallel(shared))
        seconds: dict[int, list[float]] = {1: [], PROCESSES: []}
        for number in range(rounds + 1):
            for count, step in ((1, by_itself), (PROCESSES, together)):
                distributed.barrier()
                spent = _timed(step, ids_BN) if rank < count else 0.0
                if number:
                    seconds[count].append(spent)
        places += [
            {"rival": rival.name, "processes": count, "length": LENGTH, "batch": len(ids_BN), "seconds": each}
            for count, each in seconds.items()
        ]
    if rank == 0:
        Path(written).write_text(json.dumps(places))
    distributed.destroy_process_group()


def _timed(step: Callable[[Tensor], None], ids_BN: Tensor) -> float:
    start = time.perf_counter()
    step(ids_BN)
    return time.perf_counter() - start
