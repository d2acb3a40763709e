"""The HTTP edge of LedgerX, built with Litestar and msgspec."""
