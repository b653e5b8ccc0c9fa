from pathlib import Path

import httpx
import pytest
from gateway_parts import Store, client_of, state_of

from services.serve.application import build_app


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def open_client(tmp_path: Path, store: Store) -> httpx.AsyncClient:
    """A gateway of an empty shop that needs no key."""
    return client_of(build_app(state_of(tmp_path, store)))


@pytest.fixture
def locked_client(tmp_path: Path, store: Store) -> httpx.AsyncClient:
    """The same behind two API keys."""
    return client_of(build_app(state_of(tmp_path, store, keys="first-key,second-key")))
