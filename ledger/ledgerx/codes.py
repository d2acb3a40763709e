"""Account codes as ranges: `users:42:wallet` lies below `users:42` and `users`.

Under row-level security a range of `COLLATE "C"` text is an index condition, and LIKE is not.
"""

import msgspec

# Codes have the characters A-Z a-z 0-9 . _ - : only; these come before and after all of them.
_BEFORE_ALL = "\x01"
_AFTER_ALL = "\x7f"
_AFTER_COLON = ";"


class CodeRange(msgspec.Struct, frozen=True, gc=False):
    """The codes from `low` up to, and without, `high`, in the order of their bytes."""

    low: str
    high: str

    def __contains__(self, code: str) -> bool:
        return self.low <= code < self.high


EVERY_CODE = (CodeRange("", _AFTER_ALL),)


def exactly(code: str) -> tuple[CodeRange]:
    """The range of one code."""
    return (CodeRange(code, code + _BEFORE_ALL),)


def below(prefix: str) -> tuple[CodeRange, ...]:
    """The ranges of a prefix in the hierarchy: `users` is the account `users` and all below it, but not `users2`.

    With a colon at the end it is those below alone.
    """
    parent = prefix.removesuffix(":")
    children = CodeRange(f"{parent}:", parent + _AFTER_COLON)
    return (children,) if prefix.endswith(":") else (*exactly(parent), children)
