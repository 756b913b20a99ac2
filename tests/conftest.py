"""What every test shares: one thread a process, no network, the same random numbers each time."""

from __future__ import annotations

import gc
import os
import signal

# A process that was started in the background ignores Ctrl-C, and so do its children: as if at a terminal instead.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch is imported: tests are small, and two processes of one thread beat one of two.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import pytest
import torch

from tests.examples import PROFILES

# Nearly nothing that is made until all tests are collected is garbage: to look for it took a fifth of that time.
_THRESHOLD = gc.get_threshold()
gc.set_threshold(100_000, 50, 100)

# Without a GPU, Triton's kernels run in its interpreter. It must be told before it is imported, by whomever.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Wall time says little on a shared machine, so no deadline. On CI every run draws the same examples.
for name, examples in PROFILES.items():
    hypothesis.settings.register_profile(
        name, deadline=None, max_examples=examples, derandomize="CI" in os.environ
    )
hypothesis.settings.load_profile("limelight")


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector, which some tests call, need not look at it each time."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLD)


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    # As torch.manual_seed does, which keeps a written traceback for every GPU that is not there: 2 ms a test.
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)
