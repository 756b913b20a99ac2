"""The kernels are compiled for an H100, where there is none: what the interpreter cannot see.

In a process of its own, since Triton either interprets or compiles. It says of each kernel how much shared memory
a program takes and whether it uses atomics; the compiler needs no GPU, only to be told which one is meant.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has no wheel for this system")

H100_SHARED_MEMORY = 227 * 1024

SCRIPT = """
import json, re, torch, triton
from triton.backends.compiler import GPUTarget
from limelight.matrix.validation import scores_of
from limelight.matrix.masks import causal
from limelight.matrix.tile import SoftmaxStats
from limelight.matrix.engine.triton import area_runs, launch, support
from limelight.matrix.engine.triton import area_kernel, column_kernel, row_kernel

class H100:
    get_current_target = lambda self: GPUTarget("cuda", 90, 32)
    get_current_device = lambda self: 0
    get_current_stream = lambda self, device: 0
    get_active_torch_device = lambda self: torch.device("cpu")

triton.runtime.driver.set_active(H100())

class Compiled:
    def __init__(self, kernel):
        self.kernel = kernel
    def __getitem__(self, grid):
        def compile(*arguments, **sizes):
            # A tensor of the CPU would be taken for one of the interpreter.
            logits = arguments[0]._replace(upcast=None)
            found = self.kernel.warmup(logits, *arguments[1:], grid=grid, **sizes)
            text = found.asm["ptx"]
            atomics = sorted(set(re.findall(r"\\b(?:atom|red)\\.[a-z.]+", text)))
            print(json.dumps([self.kernel.fn.__name__, found.metadata.shared, atomics]))
        return compile

for module, name in (
    (row_kernel, "rows_kernel"), (column_kernel, "columns_kernel"), (area_kernel, "areas_kernel")
):
    setattr(module, name, Compiled(getattr(module, name)))

q, k = (torch.empty(1, heads, 300, 128, dtype=torch.bfloat16) for heads in (4, 2))
scores = scores_of(q, k, None, causal(), None, None, None, None)
v, x = torch.empty(1, 2, 300, 128, dtype=torch.bfloat16), torch.empty(1, 1, 300, 3)
stats = SoftmaxStats(torch.empty(1, 4, 300), torch.empty(1, 4, 300))
group = area_runs.runs_of_groups(torch.arange(300)[None] // 100, 4)
kernels = launch.Kernels(scores, support.plan(scores, []))
kernels.rows(entropy=True, key=True, offset=0)
kernels.columns(stats, raw=True)
kernels.areas(stats, group, group)
kernels.rows(values=v)
kernels.columns(stats, factors=x)
"""


@pytest.mark.slow
def test_every_kernel_compiles_without_atomics_and_fits() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    compiled = [json.loads(line) for line in run.stdout.splitlines()]
    assert [name for name, *_ in compiled] == [
        "rows_kernel",
        "columns_kernel",
        "areas_kernel",
        "rows_kernel",
        "columns_kernel",
    ]
    for name, shared, atomics in compiled:
        assert 0 < shared <= H100_SHARED_MEMORY, f"{name} takes {shared} bytes of shared memory"
        assert not atomics, f"{name} adds in no fixed order: {atomics}"
