"""What a home must supply. A Target opens these for a pipeline; the engine knows nothing else of where it runs.

`local/` implements each with folders and SQLite, `aws/` with services. One contract suite per port holds every
implementation to its words.
Methods raise only the errors of `headrace.model.errors`; anything foreign is wrapped where it enters.
"""

from headrace.ports.clock import Clock
from headrace.ports.ledger import History, Ledger
from headrace.ports.notify import Notifier
from headrace.ports.queue import Queue
from headrace.ports.sinks import Catalog, Lookup, TableFolder, Writer
from headrace.ports.store import Base, Store

__all__ = [
    "Base",
    "Catalog",
    "Clock",
    "History",
    "Ledger",
    "Lookup",
    "Notifier",
    "Queue",
    "Store",
    "TableFolder",
    "Writer",
]
