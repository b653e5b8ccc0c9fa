"""The online store through Feast. Importing this package takes seconds: only processes that need it do."""

from services.features.online.connection import open_store
from services.features.online.reader import FeatureStatus, OnlineReader
from services.features.online.writer import OnlineWriter

__all__ = ["FeatureStatus", "OnlineReader", "OnlineWriter", "open_store"]
