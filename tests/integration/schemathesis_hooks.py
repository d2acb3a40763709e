"""What schemathesis cannot know of our bodies."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context: Any, value: Any) -> Any:
    """Lines go as they are."""
    return value if isinstance(value, bytes) else str(value).encode()
