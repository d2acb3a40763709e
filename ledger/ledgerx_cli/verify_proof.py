"""`ledgerx verify-proof`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ledgerx.notes import BadNoteError, parse_verifier_key
from ledgerx.proofs import MAX_BYTES, BadProofError, verify_proof
from ledgerx_cli.failures import CommandFailed


def verify_proof_file(
    file: Annotated[Path, Parameter(help="A proof or a checkpoint, as the API answered it.")],
    /,
    *,
    key: Annotated[
        list[str], Parameter(help="A verifier's key, <name>+<id>+<key>, or a file with one a line; may be repeated.")
    ],
    older: Annotated[
        Path | None, Parameter(name="--from", help="The note that a proof between checkpoints is to begin with.")
    ] = None,
) -> str:
    """Verify a proof of a transaction, a proof between two checkpoints, or a checkpoint: offline, by its key alone."""
    try:
        keys = [parse_verifier_key(text) for one in key for text in _keys(one)]
        if not keys:
            raise CommandFailed("there is no key to verify with")
        note = None if older is None else _read(older).decode()
        return f"{verify_proof(_read(file), keys, older=note)}: verified"
    except UnicodeDecodeError:
        raise CommandFailed(f"{older} is no note") from None
    except (BadProofError, BadNoteError) as error:
        raise CommandFailed(f"{file}: {error}: NOT verified") from None
    except OSError as error:
        raise CommandFailed(f"cannot read {error.filename}: {error.strerror}") from None


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise CommandFailed(f"{file} is larger than {MAX_BYTES} bytes")
    return content


def _keys(given: str) -> list[str]:
    if "+" in given:
        return [given]
    return Path(given).read_text(encoding="utf-8").split()
