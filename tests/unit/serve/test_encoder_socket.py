"""Query vectors over sockets of one host: who asks gets its own answer, and is told when there is none."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from services.core.errors import DependencyDown
from services.serve.encoder_socket import SUFFIX, EncoderSocket, NearEncoders
from services.serve.query_vectors import Encoded

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
async def near(folder: Path) -> AsyncIterator[NearEncoders]:
    found = NearEncoders(folder)
    yield found
    found.close()


async def encode(query: str) -> Encoded:
    """Shorter queries take longer, so answers do not come in the order of the questions."""
    await asyncio.sleep(0.02 / max(len(query), 1))
    if query == "no":
        raise RuntimeError("no model")
    return Encoded("space", np.full(4, len(query), np.float32).tobytes())


async def test_each_question_gets_its_own_answer(folder: Path, near: NearEncoders) -> None:
    replica = EncoderSocket(folder, encode)
    await replica.open()
    queries = ["a", "bb", "ccc", "dddddddd"]
    found = await asyncio.gather(*(near.text(query) for query in queries))
    replica.close()
    assert [np.frombuffer(each.vector, np.float32)[0] for each in found] == [1, 2, 3, 8]
    assert {each.space for each in found} == {"space"}


async def test_a_failure_is_told_to_who_asked_and_others_go_on(folder: Path, near: NearEncoders) -> None:
    replica = EncoderSocket(folder, encode)
    await replica.open()
    failed, found = await asyncio.gather(near.text("no"), near.text("yes"), return_exceptions=True)
    replica.close()
    assert isinstance(failed, DependencyDown)
    assert "RuntimeError: no model" in failed.detail
    assert isinstance(found, Encoded)


async def test_where_there_is_no_encoder_the_caller_goes_another_way(folder: Path, near: NearEncoders) -> None:
    with pytest.raises(ConnectionError):
        await near.text("a")


async def test_a_question_to_an_encoder_that_ends_is_not_waited_for(folder: Path, near: NearEncoders) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    folder.mkdir(mode=0o700)
    server = await asyncio.start_unix_server(end, folder / f"1{SUFFIX}")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(near.text("a"), 5)
    server.close()


async def test_what_an_ended_encoder_left_is_passed_over_and_cleared_by_the_next(
    folder: Path, near: NearEncoders
) -> None:
    folder.mkdir(mode=0o700)
    left = folder / f"{2**31 - 1}{SUFFIX}"
    server = await asyncio.start_unix_server(lambda reader, writer: None, left)
    server.close()
    assert left.exists()
    with pytest.raises(ConnectionError):
        await near.text("a")
    replica = EncoderSocket(folder, encode)
    await replica.open()
    assert not left.exists()
    assert (await near.text("a")).space == "space"
    replica.close()


async def test_a_folder_that_others_may_enter_is_not_used(folder: Path, near: NearEncoders) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    replica = EncoderSocket(folder, encode)
    await replica.open()
    assert list(folder.iterdir()) == []
    server = await asyncio.start_unix_server(lambda reader, writer: None, folder / f"1{SUFFIX}")
    with pytest.raises(ConnectionError):
        await near.text("a")
    server.close()


async def test_questions_that_come_at_once_share_a_connection_and_an_ended_encoders_is_let_go(
    folder: Path, near: NearEncoders
) -> None:
    replica = EncoderSocket(folder, encode)
    await replica.open()
    await asyncio.gather(*(near.text("query") for _ in range(20)))
    assert len(near._talks) == 1
    replica.close()
    with pytest.raises(ConnectionError):
        await near.text("query")
    assert not near._talks


async def test_a_message_too_long_ends_the_connection(folder: Path) -> None:
    replica = EncoderSocket(folder, encode)
    await replica.open()
    reader, writer = await asyncio.open_unix_connection(folder / f"{os.getpid()}{SUFFIX}")
    writer.write(b"\xff\xff\xff\xff")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    replica.close()
