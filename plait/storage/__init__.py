"""Durable storage: the log of decided sub-blocks (the truth) and snapshots (a shortcut to it).

Level 5. The log is written before anything is answered as decided; everything else of a node can be rebuilt from it.
Blocks, receipts and indexes of the rollups lie in the native core's store, which is derived data.
"""

from plait.storage.base import GENESIS_BASE, LogBase
from plait.storage.directory import NETWORK_FILE, DataDirectory
from plait.storage.files import Files
from plait.storage.log import DecidedLog
from plait.storage.memory import MemoryLog
from plait.storage.record import DecidedRecord
from plait.storage.snapshots import Snapshot, Snapshots

__all__ = [
    "GENESIS_BASE",
    "NETWORK_FILE",
    "DataDirectory",
    "DecidedLog",
    "DecidedRecord",
    "Files",
    "LogBase",
    "MemoryLog",
    "Snapshot",
    "Snapshots",
]
