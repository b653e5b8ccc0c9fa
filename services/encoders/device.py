"""Where models run and how: device, autocast type, pinned memory, batch budgets and CPU threads."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from services.core.errors import ConfigurationError

CPU_TOKEN_BUDGET = 2_048
"""Padded tokens a batch on a CPU: measured best for MiniLM (2,048: 597/s, 1,024: 498/s, 8,192: 376/s on 2 cores)."""
CPU_IMAGE_BATCH = 8
GPU_TOKEN_BUDGET = 131_072
GPU_IMAGE_BATCH = 256
BYTES_PER_TOKEN = 64 * 1024
"""Generous activation memory of one token in a base-sized transformer without gradients."""
BYTES_PER_IMAGE = 32 * 1024 * 1024


@dataclass(frozen=True)
class DevicePolicy:
    """How a model runs.

    `dtype` is the autocast type, None for plain float32. `token_budget` is the padded tokens of one text batch,
    `image_batch` the pictures of one image batch, `threads` the CPU threads this process may use (0: leave as it is).
    """

    device: torch.device
    dtype: torch.dtype | None
    pin_memory: bool = False
    token_budget: int = CPU_TOKEN_BUDGET
    image_batch: int = CPU_IMAGE_BATCH
    threads: int = 0

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        """Matrix products in `dtype` within the block, if there is one."""
        return torch.autocast(self.device.type, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients, autocast as chosen, and no more CPU threads than this process has CPUs."""
        before = torch.get_num_threads()
        limit = self.threads if 0 < self.threads < before else before
        if limit != before:
            torch.set_num_threads(limit)
        try:
            with torch.inference_mode(), self.autocast():
                yield
        finally:
            if limit != before:
                torch.set_num_threads(before)

    def to_device(self, array: torch.Tensor) -> torch.Tensor:
        """Copy a CPU tensor to the device; on a GPU from pinned memory without waiting."""
        if not self.is_gpu:
            return array
        return (array.pin_memory() if self.pin_memory else array).to(self.device, non_blocking=True)


def resolve_device(name: str = "auto") -> DevicePolicy:
    """The policy for `auto`, `cpu`, `cuda` or `cuda:N`. `auto` takes the GPU when there is one.

    Raises:
        ConfigurationError: the name is none of these, or the GPU is not there.
    """
    name = name.strip().lower()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return DevicePolicy(torch.device("cpu"), torch.bfloat16 if cpu_has_bf16() else None, threads=available_cpus())
    if name == "cuda" or name.startswith("cuda:"):
        return _gpu_policy(name)
    raise ConfigurationError(f"PORTRAIT_DEVICE={name!r} is unknown: use auto, cpu, cuda or cuda:N")


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX512-BF16 or AMX); without it bf16 is slower than float32."""
    if not torch.backends.mkldnn.is_available():
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        flags = torch.cpu.get_capabilities()
        return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch before 2.13 has the private probe alone
    return bool(probe and probe())


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPUs that this process may really use: its affinity, cut by a container's CPU quota (cgroup v2)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, math.ceil(int(quota) / int(period))))


def _gpu_policy(name: str) -> DevicePolicy:
    if not torch.cuda.is_available():
        raise ConfigurationError(f"PORTRAIT_DEVICE={name}, but torch sees no CUDA GPU: use cpu or auto")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"PORTRAIT_DEVICE={name!r} is unknown: use auto, cpu, cuda or cuda:N") from error
    index = device.index if device.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise ConfigurationError(f"PORTRAIT_DEVICE={name}, but there are only {torch.cuda.device_count()} GPUs")
    device = torch.device("cuda", index)
    capability = torch.cuda.get_device_capability(device)
    dtype = torch.bfloat16 if capability >= (8, 0) else torch.float16 if capability >= (7, 0) else None
    free, _ = torch.cuda.mem_get_info(device)
    usable = free // 4
    return DevicePolicy(
        device,
        dtype,
        pin_memory=True,
        token_budget=int(min(GPU_TOKEN_BUDGET, max(CPU_TOKEN_BUDGET, usable // BYTES_PER_TOKEN))),
        image_batch=int(min(GPU_IMAGE_BATCH, max(CPU_IMAGE_BATCH, usable // BYTES_PER_IMAGE))),
        threads=available_cpus(),
    )
