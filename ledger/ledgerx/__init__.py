"""The kernel of LedgerX: the pure domain, the posting engine, the journal's storage, settings and telemetry."""

from importlib.metadata import version

__version__ = version("ledgerx")
