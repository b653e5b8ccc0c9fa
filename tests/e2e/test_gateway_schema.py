"""Whatever is sent, by the schema or against it: no server error, and only what openapi.json announces."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, apply_features, running_gateway

from benchmarks.synthetic_shop import synthetic_snapshot
from services.core.addresses import Addresses
from services.core.paths import HomePaths

pytestmark = pytest.mark.e2e

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = int(os.environ.get("PORTRAIT_TEST_SCHEMA_EXAMPLES", "25"))


@pytest.fixture(scope="module")
def gateway(home: Path, database: Addresses) -> Iterator[GatewayProcess]:
    apply_features(home)
    synthetic_snapshot(HomePaths(home).snapshots, 50)
    with running_gateway(home, database) as running:
        yield running


def test_schemathesis_finds_nothing(gateway: GatewayProcess):
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{gateway.url}/openapi.json",
        "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--mode", "all", "--seed", "7",
        "--generation-deterministic", "--request-timeout", "60", "--phases", "examples,coverage,fuzzing", "--no-color",
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
