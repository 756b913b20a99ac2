"""Refuse to train when started as one of several processes, before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from limelight.errors import InputError

_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers say how many processes they have started."""

_WAY_OUT = (
    "Start it by itself, without torchrun, mpirun or `accelerate launch --num_processes`: limelight train …; it uses "
    "the threads of one process, or one GPU."
)


def demand_one_process(environment: Mapping[str, str] | None = None) -> None:
    """Raise InputError where a launcher has started, or was to start, several processes for one training.

    Each would train on the same batches, and they would write into one folder.

    >>> demand_one_process({"WORLD_SIZE": "1"})
    """
    given = os.environ if environment is None else environment
    for name in _SIZES:
        count = given.get(name, "")
        if count.isdigit() and int(count) > 1:
            raise InputError(
                f"Training must be of one process; got {name}={count}, one of {count}. {_WAY_OUT}"
            )
    there = torch.distributed
    if there.is_available() and there.is_initialized() and there.get_world_size() > 1:
        count = str(there.get_world_size())
        raise InputError(
            f"Training must be of one process; got a torch.distributed group of {count} processes. {_WAY_OUT}"
        )
    if "ACCELERATE_MIXED_PRECISION" in given and "MASTER_ADDR" in given and "WORLD_SIZE" not in given:
        raise InputError(
            "Training must be of one process; got `accelerate launch` with several asked for, of which it has "
            f"started one and says nothing, as it does on a CPU. {_WAY_OUT}"
        )
