"""Writes one export in this process and says what it took: `python -m tests.integration.export_once`.

`LEDGERX_DATABASE_URL` is that of the streams' role. Its arguments are the URL of the storage, the tenant, the sequence
number, the dataset and the format. It prints a line of JSON.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from uuid import UUID

import uvloop

from ledgerx import database as db
from ledgerx.export_files import MAX_FILE_BYTES, ExportFiles
from ledgerx.exports import MEDIA_TYPES, Dataset, ExportFilters, Format
from ledgerx_streams.exports.tables import Cut
from ledgerx_streams.exports.writing import Measures, file_chunks

_KIB = 1024


async def export(storage_url: str, tenant: str, seq: str, dataset: str, file_format: str) -> dict[str, float | str]:
    """Write the export; `rss_bytes` is the most memory that the process ever held."""
    cut = Cut(tenant_id=UUID(tenant), seq=int(seq), recorded_at=None, filters=ExportFilters())
    measures = Measures()
    began, cpu_began = time.monotonic(), time.process_time()
    async with db.pool(os.environ["LEDGERX_DATABASE_URL"], application_name="export", max_size=2) as pool:
        chunks = file_chunks(pool, cut, Dataset(dataset), Format(file_format), measures, max_bytes=MAX_FILE_BYTES)
        media_type = MEDIA_TYPES[Format(file_format)]
        await ExportFiles(storage_url).write(f"{dataset}.{file_format}", chunks, media_type=media_type, filename="x")
    return {
        "dataset": dataset,
        "format": file_format,
        "rows": measures.rows,
        "bytes": measures.bytes,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu_began, 1),
        "rss_bytes": _most_memory_bytes(),
    }


def _most_memory_bytes() -> int:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # What getrusage says on Linux begins with the memory of whoever started this process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * _KIB


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(export(*sys.argv[1:]))) + "\n")
