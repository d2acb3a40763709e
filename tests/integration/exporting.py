"""Exports written into memory."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from ledgerx.database import Pool
from ledgerx.exports import Dataset, ExportFilters, Format
from ledgerx_streams.exports.tables import Cut
from ledgerx_streams.exports.writing import Measures, file_chunks

NO_LIMIT = 2**40
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


async def written(
    pool: Pool,
    tenant_id: UUID,
    seq: int,
    dataset: Dataset,
    file_format: Format = Format.JSONL,
    **filters: Any,
) -> bytes:
    cut = Cut(tenant_id=tenant_id, seq=seq, recorded_at=MOMENT, filters=ExportFilters(**filters))
    measures = Measures()
    chunks = file_chunks(pool, cut, dataset, file_format, measures, max_bytes=NO_LIMIT)
    found = b"".join([chunk async for chunk in chunks])
    assert measures.bytes == len(found)
    assert measures.progress == pytest.approx(1, rel=0.1)
    return found


def lines(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]
