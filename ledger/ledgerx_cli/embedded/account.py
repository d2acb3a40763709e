"""The account that PostgreSQL runs under: it refuses to run as root.

Root hands over to `nobody` through util-linux' `setpriv`; anybody else runs it as themselves. A checkout below a
directory that is closed to others (`/root`, `mktemp -d`) would be out of reach for `nobody`: then, and only then, the
process keeps the capability to pass through directories.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from ledgerx.errors import ConfigurationError

_ACCOUNT = "nobody"
# Bits of linux/capability.h, the lesser right first. Containers usually have only the second.
_PASSAGE_RIGHTS = {"dac_read_search": 2, "dac_override": 1}


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def give(path: Path) -> None:
    """Make `path` belong to the account."""
    if is_root():
        account = pwd.getpwnam(_ACCOUNT)
        os.chown(path, account.pw_uid, account.pw_gid)


def unprivileged(command: Sequence[str], *, reaching: Sequence[Path]) -> tuple[str, ...]:
    """`command` as the account runs it, able to reach the directories in `reaching`.

    Raises `ConfigurationError` where root cannot hand over.
    """
    if not is_root():
        return tuple(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError("PostgreSQL does not run as root, and there is no setpriv to change the account")
    account = pwd.getpwnam(_ACCOUNT)
    handover = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    closed = [path for path in reaching if _is_closed(path)]
    if closed:
        right = _passage_right(closed[0])
        # The last flag: access(2) ignores capabilities after a change of the account otherwise.
        handover += [f"--inh-caps=+{right}", f"--ambient-caps=+{right}", "--securebits=+no_setuid_fixup"]
    return (*handover, *command)


def _is_closed(path: Path) -> bool:
    return not all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _passage_right(path: Path) -> str:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    for right, bit in _PASSAGE_RIGHTS.items():
        if effective >> bit & 1:
            return right
    raise ConfigurationError(f"PostgreSQL runs as {_ACCOUNT}, which cannot pass through the directories above {path}")
