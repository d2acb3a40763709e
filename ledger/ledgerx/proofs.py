"""Verification of checkpoints and proofs, offline: nothing is needed but a file and the verifier's key. Pure."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import UNSET

from ledgerx.checkpoints import BalanceStatement, ConsistencyProof, InclusionProof, Statement, parse_statement
from ledgerx.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledgerx.notes import BadNoteError, VerifierKey, open_note

# What a file of the largest transaction has, with room to spare.
MAX_BYTES = 4 * 1024 * 1024


class BadProofError(ValueError):
    """It does not prove what it says."""


_decode = msgspec.json.Decoder(InclusionProof | ConsistencyProof).decode


def verify_proof(content: bytes, keys: Sequence[VerifierKey], *, older: str | None = None) -> str:
    """What a file proves, in a sentence: one with an inclusion or consistency proof, or with a checkpoint alone.

    `older` is the note that a consistency proof is to begin with, in place of the one in the file. Raises
    `BadProofError`.
    """
    try:
        if not content.lstrip().startswith(b"{"):
            statement = _opened(content.decode(), keys)
            return f"{statement.origin}: signed at {statement.size} entries"
        proof = _decode(content)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadProofError(f"this is not a file of a proof: {error}") from None
    if isinstance(proof, InclusionProof):
        if older is not None:
            raise BadProofError("only a proof between checkpoints begins with another note")
        return _verify_inclusion(proof, keys)
    return _verify_consistency(proof if older is None else msgspec.structs.replace(proof, older=older), keys)


def _verify_inclusion(proof: InclusionProof, keys: Sequence[VerifierKey]) -> str:
    statement = _opened(proof.checkpoint, keys)
    _check_tenant(statement, proof.tenant)
    if hashlib.sha256(proof.previous_hash + proof.entry.encode()).digest() != proof.hash:
        raise BadProofError("the hash is not that of the entry and the hash before it")
    if _number(proof.entry) != proof.sequence:
        raise BadProofError(f"the entry has another number than {proof.sequence}")
    leaf = leaf_hash(proof.hash)
    if not verify_inclusion(proof.sequence - 1, statement.size, leaf, proof.proof, statement.root):
        raise BadProofError(f"the entry {proof.sequence} is not in the checkpoint of {statement.size} entries")
    _check_balance(statement, proof.trial_balance)
    return f"{statement.origin}: entry {proof.sequence} is in the checkpoint of {statement.size} entries"


def _verify_consistency(proof: ConsistencyProof, keys: Sequence[VerifierKey]) -> str:
    if proof.older is UNSET:
        raise BadProofError("the note that the proof begins with is not in it: the one that you have kept")
    older, newer = _opened(proof.older, keys), _opened(proof.newer, keys)
    _check_tenant(older, proof.tenant)
    if older.origin != newer.origin:
        raise BadProofError("the checkpoints are of different journals")
    if not verify_consistency(older.size, newer.size, proof.proof, older.root, newer.root):
        raise BadProofError(f"the checkpoint of {newer.size} entries does not begin with that of {older.size}")
    return f"{newer.origin}: the checkpoint of {newer.size} entries begins with that of {older.size}"


def _opened(note: str, keys: Sequence[VerifierKey]) -> Statement:
    try:
        statement = parse_statement(open_note(note, keys))
    except BadNoteError as error:
        raise BadProofError(str(error)) from None
    # A key signs for the log of its name only.
    if statement.origin not in {key.name for key in keys}:
        raise BadProofError(f"no key is that of {statement.origin}")
    return statement


def _check_tenant(statement: Statement, tenant_id: UUID) -> None:
    if statement.origin.rpartition("/")[2] != str(tenant_id):
        raise BadProofError("the checkpoint is of another tenant")


def _check_balance(statement: Statement, balance: BalanceStatement) -> None:
    if (balance.size, balance.sha256) != (statement.size, statement.balance_sha256):
        raise BadProofError("the trial balance is not that of the checkpoint")
    totals: Counter[str] = Counter()
    for line in balance.items:
        totals[line.asset] += int(line.posted)
    if any(totals.values()):
        raise BadProofError("the trial balance does not balance")


def _number(entry: str) -> int | None:
    """The number that a canonical encoding has."""
    try:
        fields = msgspec.json.decode(entry, type=list[object])
    except msgspec.MsgspecError:
        return None
    return fields[1] if len(fields) > 1 and isinstance(fields[1], int) else None
