"""Devices resolve to what the machine has, and wrong names say what is allowed."""

from pathlib import Path

import pytest
import torch

from services.core.errors import ConfigurationError
from services.encoders.device import DevicePolicy, available_cpus, cpu_has_bf16, resolve_device


def test_cpu_uses_bf16_exactly_where_the_processor_has_it() -> None:
    policy = resolve_device("cpu")
    assert policy.device.type == "cpu"
    assert policy.dtype is (torch.bfloat16 if cpu_has_bf16() else None)
    assert not policy.pin_memory


@pytest.mark.parametrize("name", ["tpu", "", "gpu", "cuda:x"])
def test_an_unknown_device_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigurationError):
        resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no CUDA GPU"):
        resolve_device("cuda")
    assert resolve_device("auto").device.type == "cpu"


def test_a_containers_quota_limits_the_threads(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert available_cpus(quota) == 1
    quota.write_text("max 100000\n")
    assert available_cpus(quota) == available_cpus(tmp_path / "absent")


def test_the_thread_limit_ends_with_the_work() -> None:
    before = torch.get_num_threads()
    with DevicePolicy(torch.device("cpu"), None, threads=1).inference():
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
