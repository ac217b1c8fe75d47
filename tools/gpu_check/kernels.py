"""The GEMM rate, and where the time of a forward pass goes, kernel by kernel."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from ast_cli.bench.roofline import fastest_product, window_flops
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.factory import open_engine
from ast_cli.settings import ModelSettings
from tools.gpu_check.common import CHECKPOINT, Step

TOP, BATCH = 15, 32


def main() -> None:
    """Profile one forward pass in each number format."""
    step = Step.from_arguments("kernels")
    batch, passes = (2, 1) if step.dry else (BATCH, 5)
    results: dict[str, Any] = {}
    for dtype in ["float32"] if step.dry else ["float16", "bfloat16"]:
        tagger = _open(step, dtype)
        engine, extractor = tagger
        windows = torch.randn(batch, extractor.max_length, extractor.num_mel_bins, device=step.device)
        for _ in range(4):
            engine.logits(windows)
        start = time.perf_counter()
        for _ in range(passes):
            engine.logits(windows)
        plain = (time.perf_counter() - start) / passes
        kinds = [ProfilerActivity.CPU] + ([] if step.dry else [ProfilerActivity.CUDA])
        with profile(activities=kinds) as profiled:
            engine.logits(windows)
        gemm = fastest_product(engine.config, [batch], torch.device(step.device), getattr(torch, dtype))
        flops = window_flops(engine.config) * batch / plain
        results[dtype] = {
            "batch": batch,
            "ms": 1e3 * plain,
            "flops": flops,
            "gemm_flops": gemm.flops if gemm else None,
            "ratio": flops / gemm.flops if gemm else None,
            "kernels": _top(profiled, on_device=not step.dry),
        }
        step.write(results=results)
        print(dtype, {name: value for name, value in results[dtype].items() if name != "kernels"})
        for name, ms, calls in results[dtype]["kernels"]:
            print(f"  {ms:8.3f} ms  {calls:4} calls  {name[:100]}")


def _open(step: Step, dtype: str) -> Any:
    settings = ModelSettings(device=step.device, dtype=dtype, attn="sdpa")  # type: ignore[arg-type]
    return open_engine(Checkpoint.open(str(step.scratch / CHECKPOINT)), settings)


def _top(profiled: Any, *, on_device: bool) -> list[tuple[str, float, int]]:
    taken = "self_device_time_total" if on_device else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda one: getattr(one, taken), reverse=True)
    return [(one.key, getattr(one, taken) / 1e3, one.count) for one in events[:TOP]]


if __name__ == "__main__":
    main()
