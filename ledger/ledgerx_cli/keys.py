"""`ledgerx keys`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ledgerx import sealing
from ledgerx.keys import read_keyset, rotated, write_new_keyset
from ledgerx_cli.data_directory import DataDirectory, write_private_json
from ledgerx_cli.options import DEFAULT_DATA, Data

app = App(name="keys", help="Manage the keys that sign access tokens, and those that seal the secrets of webhooks.")


@app.command
def rotate(
    *,
    keys: Annotated[
        Path | None, Parameter(env_var="LEDGERX_KEYS", help="The keyset file; by default the data directory's.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> str:
    """Sign with the next key from the next start of the API on, and publish a new next one.

    Makes the file where there is none. Tokens of the key before stay good: rotate again only when the last of them has
    expired, after LEDGERX_TOKEN_TTL_S.
    """
    path = keys or DataDirectory(data).keys
    if not path.exists():
        made = write_new_keyset(path)
        return f"{path}: made, with the key {made.current.kid}"
    keyset = rotated(read_keyset(path))
    write_private_json(path, keyset)
    return f"{path}: {keyset.current.kid} signs from the next start of the API on"


@app.command
def rotate_sealing(
    *,
    keys: Annotated[
        Path | None,
        Parameter(env_var="LEDGERX_SEALING_KEYS", help="The file of sealing keys; by default the data directory's."),
    ] = None,
    data: Data = DEFAULT_DATA,
) -> str:
    """Seal with a new key from the next start of the API on; makes the file where there is none.

    Keys of before are kept, and open what they sealed. Bring the file to the streams before it comes to the API.
    """
    path = keys or DataDirectory(data).sealing_keys
    if not path.exists():
        made = sealing.write_new_sealing_keys(path)
        return f"{path}: made, with the key {made.current.kid}"
    made = sealing.rotated(sealing.read_sealing_keys(path))
    write_private_json(path, made)
    return f"{path}: {made.current.kid} seals from the next start of the API on"
