"""Query vectors over Unix sockets between processes of one host: a tenth of the 3.5 ms that Ray's remote call takes.

Each replica of the encoder listens on a socket of its own in a private folder. A gateway asks any that is there; where
none is (the encoder runs on another host, or has just ended), it goes through Serve. Messages are MessagePack behind
their length.
"""

import asyncio
import os
import random
import stat
import struct
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import msgspec
import psutil

from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.paths import HomePaths, socket_folder
from services.serve.query_vectors import Encoded

FOLDER, SUFFIX = "encoders", ".sock"
LONGEST_NAME = f"{2**31}{SUFFIX}"
LARGEST = 1 << 20
"""Bytes of a message: a query of 512 characters takes 2 KB, a vector of 4,096 components 16 KB."""
LENGTH = struct.Struct("!I")

Encode = Callable[[str], Awaitable[Encoded]]

log = get_logger("gateway")


class Question(msgspec.Struct, array_like=True, frozen=True):
    """`number` is chosen by who asks."""

    number: int
    query: str


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """To the question of that number; `failed` says why there is no vector."""

    number: int
    space: str = ""
    vector: bytes = b""
    failed: str = ""


_encoder = msgspec.msgpack.Encoder()
_questions, _answers = msgspec.msgpack.Decoder(Question), msgspec.msgpack.Decoder(Answer)


def encoder_folder(home: Path) -> Path:
    """Where the sockets of a home's encoders lie."""
    return socket_folder(HomePaths(home).run / FOLDER, LONGEST_NAME)


class EncoderSocket:
    """A replica's side. Questions that arrive while others are answered are answered together, if `encode` does so."""

    def __init__(self, folder: Path, encode: Encode) -> None:
        self._folder, self._encode = folder, encode
        self._path = folder / f"{os.getpid()}{SUFFIX}"
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; where the folder is somebody else's, do not."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(self._folder):
            log.warning("encoder-socket-refused", folder=str(self._folder), cure="remove it: it is open to others")
            return
        for left in self._folder.glob(f"*{SUFFIX}"):
            if not _lives(left.stem):
                left.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._talk, self._path)

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering: set[asyncio.Task[None]] = set()
        try:
            while True:
                task = asyncio.create_task(self._answer(_questions.decode(await _read(reader)), writer))
                answering.add(task)
                task.add_done_callback(answering.discard)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            pass  # who asked is gone
        finally:
            for task in answering:
                task.cancel()
            writer.close()

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        try:
            found = await self._encode(question.query)
            answer = Answer(question.number, found.space, found.vector)
        except Exception as error:  # whatever it is, the gateway decides what becomes of the search
            answer = Answer(question.number, failed=f"{type(error).__name__}: {error}"[:1_000])
        _write(writer, answer)


class NearEncoders:
    """A gateway's side. Used on the event loop's thread alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._talks: dict[str, _Talk] = {}

    async def text(self, query: str) -> Encoded:
        """The vector of a query by one of the encoders of this host.

        Raises:
            ConnectionError: there is none, or none that answers.
            DependencyDown: it answered that it cannot.
        """
        for name in self._names():
            try:
                talk = self._talks.get(name) or await self._connect(name)
                return await talk.ask(query)
            except (ConnectionError, FileNotFoundError):
                self._talks.pop(name, None)
        raise ConnectionError("There is no encoder on this host")

    def close(self) -> None:
        """Ask no longer."""
        for talk in self._talks.values():
            talk.close()
        self._talks.clear()

    def _names(self) -> list[str]:
        """Of the sockets that are there, in a random order; connections to others are let go."""
        try:
            found = [path.name for path in self._folder.iterdir() if path.suffix == SUFFIX]
        except OSError:
            found = []
        for gone in self._talks.keys() - set(found):
            self._talks.pop(gone).close()
        random.shuffle(found)
        return found

    async def _connect(self, name: str) -> "_Talk":
        if not _is_private(self._folder):
            raise ConnectionError(f"{self._folder} is open to others")
        made = _Talk(*await asyncio.open_unix_connection(self._folder / name))
        talk = self._talks.setdefault(name, made)
        if talk is not made:  # another request has connected meanwhile
            made.close()
        return talk


class _Talk:
    """One connection, on which several questions may be open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = count()
        self._open: dict[int, asyncio.Future[Encoded]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, query: str) -> Encoded:
        if self._listening.done():
            raise ConnectionError("The encoder has ended")
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        _write(self._writer, Question(number, query))
        try:
            return await answer
        finally:
            self._open.pop(number, None)

    def close(self) -> None:
        self._listening.cancel()

    async def _listen(self) -> None:
        try:
            while True:
                self._take(_answers.decode(await _read(self._reader)))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            pass  # whoever waits asks another
        finally:
            self._writer.close()
            for waiting in self._open.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError("The encoder has ended"))

    def _take(self, answer: Answer) -> None:
        waiting = self._open.get(answer.number)
        if waiting is None or waiting.done():
            return
        if answer.failed:
            waiting.set_exception(DependencyDown(f"The encoder failed: {answer.failed}"))
        else:
            waiting.set_result(Encoded(answer.space, answer.vector))


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > LARGEST:
        raise ConnectionError(f"A message of {length} bytes")
    return await reader.readexactly(length)


def _write(writer: asyncio.StreamWriter, message: Question | Answer) -> None:
    content = _encoder.encode(message)
    writer.write(LENGTH.pack(len(content)) + content)


def _is_private(folder: Path) -> bool:
    """Whether the folder is ours and nobody else may enter it."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _lives(pid: str) -> bool:
    return pid.isdigit() and psutil.pid_exists(int(pid))
