"""The state file, the lock, bounded logs and ports."""

import socket
from pathlib import Path

import pytest

from services.runtime.errors import AlreadyRunning, tail
from services.runtime.lock import HomeLock
from services.runtime.logs import bound_logs
from services.runtime.ports import free_port, is_free
from services.runtime.postgres import PostgresConfig
from services.runtime.state import PartState, PartStatus, Phase, StackState, read_state, write_state
from services.runtime.valkey import ValkeyConfig


def test_the_state_is_read_back_as_written(tmp_path: Path) -> None:
    part = PartState("beat", "service", "beat.log", PartStatus.FAILED, ["python"], 7, 1.5, None, 4, 0.2, "it ended")
    state = StackState(5, 1.0, Phase.FAILED, "why", [part])
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert state.failure() == "why"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["state.json"]


def test_no_state_is_recorded_before_the_first_start(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


def test_a_second_supervisor_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(AlreadyRunning, match="portrait down"), HomeLock(tmp_path):
        pass
    with HomeLock(tmp_path):
        pass


def test_a_log_above_its_bound_is_kept_once_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        assert bound_logs(tmp_path, limit=50) == [path]
        writer.write(b"after")
    assert path.read_bytes() == b"after"
    assert (tmp_path / "part.log.1").read_bytes() == b"x" * 100
    assert bound_logs(tmp_path, limit=50) == []


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    assert tail(path) == "  (no log was written)"
    path.write_text("".join(f"{number}\n" for number in range(100)))
    assert tail(path, lines=2) == "  98\n  99"


def test_a_taken_port_is_not_free_and_another_is_chosen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert not is_free(taken)
        assert free_port(preferred=taken) != taken
    assert is_free(taken)


def test_postgres_is_durable_and_off_the_network_by_default() -> None:
    lines = PostgresConfig().lines(Path("/it's/here")).splitlines()
    assert "listen_addresses = ''" in lines
    assert "unix_socket_directories = '/it''s/here'" in lines
    assert {"synchronous_commit = on", "fsync = on", "full_page_writes = on"} <= set(lines)
    assert not any(line.startswith("statement_timeout") for line in lines)


def test_valkey_is_persistent_bound_to_loopback_and_never_evicts() -> None:
    lines = ValkeyConfig().lines(Path("/h"), Path("/h/valkey.sock"), 7000).splitlines()
    assert {"bind 127.0.0.1", "port 7000", "protected-mode yes"} <= set(lines)
    assert {"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"} <= set(lines)
