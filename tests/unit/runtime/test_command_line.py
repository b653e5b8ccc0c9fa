"""The command line as a process: exit codes, and one clear message instead of a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.output import human_bytes, human_seconds
from services.cli.up import _without_password


def portrait(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "services.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PORTRAIT_HOME": str(home), **environment},
    )


def test_status_of_a_home_that_never_ran_says_so_with_exit_code_3(tmp_path: Path) -> None:
    done = portrait("status", "--json", home=tmp_path)
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert (answer["running"], answer["phase"], answer["parts"], answer["jobs"]) == (False, "stopped", [], [])


def test_down_of_a_home_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    done = portrait("down", home=tmp_path)
    assert done.returncode == 0
    assert "Nothing runs" in done.stdout


def test_doctor_names_what_is_wrong_and_the_cure_with_exit_code_1(tmp_path: Path) -> None:
    done = portrait("doctor", "--json", home=tmp_path)
    assert done.returncode == 1
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["packages"]["level"] == "ok"
    assert findings["parts"]["level"] == "wrong"
    assert "portrait up" in findings["parts"]["cure"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PORTRAIT_BIND": "0.0.0.0"}, "set PORTRAIT_API_KEYS as well"),
        ({"PORTRAIT_PORT": "http"}, "PORTRAIT_PORT"),
        ({"PORTRAIT_DATABASE_URL": "mysql://x"}, "must start with postgresql://"),
    ],
)
def test_a_setting_that_cannot_work_is_named_without_a_traceback(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    done = portrait("status", home=tmp_path, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_has_exit_code_2(tmp_path: Path) -> None:
    assert portrait("up", "--port", "99999999", home=tmp_path).returncode == 2
    assert portrait("no-such-command", home=tmp_path).returncode == 2


def test_printed_addresses_show_no_password() -> None:
    assert _without_password("postgresql://u:s3cret@db:5432/x") == "postgresql://u:***@db:5432/x"
    assert _without_password("redis://:p@ss@cache:6379/0") == "redis://:***@cache:6379/0"
    assert _without_password("postgresql://postgres@/x?host=/run") == "postgresql://postgres@/x?host=/run"
    assert _without_password("redis://127.0.0.1:6379/0") == "redis://127.0.0.1:6379/0"
    assert _without_password(None) is None


def test_sizes_and_times_read_well() -> None:
    assert [human_bytes(count) for count in (512, 1536, 3 * 1024**2, 1.5 * 1024**3)] == [
        "512 B",
        "1.5 KiB",
        "3 MiB",
        "1.5 GiB",
    ]
    assert [human_seconds(count) for count in (0.61, 42, 75, 7_260, 200_000)] == [
        "0.6s",
        "42s",
        "1m 15s",
        "2h 1m",
        "2d 7h",
    ]
