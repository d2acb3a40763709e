"""The one family of errors that a client can see.

Every error has a stable `code` for programs, an HTTP `status`, a short fixed `title`, a `detail` for people and
`extra` members, as RFC 9457 (Problem Details for HTTP APIs) lays them out. The edge renders them; nothing else does.
"""

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar


class LedgerError(Exception):
    """Base of all errors that are answered to a client."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extra = extra

    @classmethod
    def meaning(cls) -> str:
        """When it is answered, in a sentence: what its docstring says behind the status."""
        contract = (inspect.getdoc(cls) or "").partition("\n\n")[0]
        return " ".join(contract.split()).removeprefix(f"{cls.status}: ")


class Malformed(LedgerError):
    """400: the request cannot be read as what the operation takes."""

    code = "malformed"
    status = 400
    title = "Malformed request"


class InvalidCursor(Malformed):
    """400: the pagination cursor is not one that this list handed out."""

    code = "invalid_cursor"
    title = "Invalid cursor"


class MissingIdempotencyKey(Malformed):
    """400: an operation that moves money came without `Idempotency-Key`."""

    code = "missing_idempotency_key"
    title = "Missing idempotency key"


class InvalidIdempotencyKey(Malformed):
    """400: the `Idempotency-Key` is empty, too long or holds characters outside printable ASCII."""

    code = "invalid_idempotency_key"
    title = "Invalid idempotency key"


class UnsupportedGrantType(Malformed):
    """400: the token endpoint takes client credentials only (RFC 6749, 5.2)."""

    code = "unsupported_grant_type"
    title = "Unsupported grant type"


class InvalidScope(Malformed):
    """400: the client asked for a scope that it was not given (RFC 6749, 5.2)."""

    code = "invalid_scope"
    title = "Invalid scope"


class Unauthenticated(LedgerError):
    """401: no valid credentials; the answer carries `WWW-Authenticate`."""

    code = "unauthenticated"
    status = 401
    title = "Authentication required"


class InvalidToken(Unauthenticated):
    """401: the access token is forged, expired, or meant for somebody else."""

    code = "invalid_token"
    title = "Invalid access token"


class InvalidClient(Unauthenticated):
    """401: unknown client or wrong secret (RFC 6749, 5.2)."""

    code = "invalid_client"
    title = "Client authentication failed"


class InvalidCredentials(Unauthenticated):
    """401: no such user, another password, or a user who may not log in: the answer is the same."""

    code = "invalid_credentials"
    title = "Log-in failed"


class InvalidGrant(Unauthenticated):
    """401: the refresh token or password token is unknown, used or expired."""

    code = "invalid_grant"
    title = "Invalid token"


class Forbidden(LedgerError):
    """403: the credentials are good, but their scopes or role do not reach this operation."""

    code = "forbidden"
    status = 403
    title = "Not allowed"


class TenantSuspended(Forbidden):
    """403: the tenant keeps everything, but nobody may use it now."""

    code = "tenant_suspended"
    title = "Tenant is suspended"


class NotFound(LedgerError):
    """404: there is no such thing in this tenant."""

    code = "not_found"
    status = 404
    title = "Not found"


class Conflict(LedgerError):
    """409: the present state of the ledger does not allow the operation."""

    code = "conflict"
    status = 409
    title = "Conflict"


class AccountExists(Conflict):
    """409: the account code is taken."""

    code = "account_exists"
    title = "Account exists"


class AccountFrozen(Conflict):
    """409: the account takes no new postings until it is unfrozen."""

    code = "account_frozen"
    title = "Account is frozen"


class AccountClosed(Conflict):
    """409: the account takes no postings any more."""

    code = "account_closed"
    title = "Account is closed"


class AccountNotEmpty(Conflict):
    """409: an account closes only when every layer of it is zero."""

    code = "account_not_empty"
    title = "Account is not empty"


class TooManyAccounts(Conflict):
    """409: the tenant has as many accounts as it may have, closed ones included."""

    code = "too_many_accounts"
    title = "Too many accounts"


class AssetExists(Conflict):
    """409: the tenant has registered this asset before."""

    code = "asset_exists"
    title = "Asset exists"


class AssetInUse(Conflict):
    """409: accounts hold the asset or held it, so it stays, with its `scale`."""

    code = "asset_in_use"
    title = "Asset is in use"


class TooManyAssets(Conflict):
    """409: the tenant has registered as many assets as it may have."""

    code = "too_many_assets"
    title = "Too many assets"


class CategoryExists(Conflict):
    """409: the tenant has registered this category before."""

    code = "category_exists"
    title = "Category exists"


class TooManyCategories(Conflict):
    """409: the tenant has registered as many categories as it may have."""

    code = "too_many_categories"
    title = "Too many categories"


class HoldAlreadyResolved(Conflict):
    """409: the hold was captured, released or has expired before; `resolution` is the transaction that did it."""

    code = "hold_already_resolved"
    title = "Hold is resolved already"


class HoldExpired(Conflict):
    """409: the hold is past its `expires_at` and can only be released."""

    code = "hold_expired"
    title = "Hold has expired"


class HoldNotExpired(Conflict):
    """409: the hold is not past its `expires_at`."""

    code = "hold_not_expired"
    title = "Hold has not expired"


class NotAHold(Conflict):
    """409: only a hold can be captured or released; `kind` says what the transaction is."""

    code = "not_a_hold"
    title = "Not a hold"


class NotReversible(Conflict):
    """409: posts and captures can be reversed, holds are released; `kind` says what the transaction is."""

    code = "not_reversible"
    title = "Not reversible"


class AlreadyReversed(Conflict):
    """409: the whole transaction has been taken back already."""

    code = "already_reversed"
    title = "Reversed already"


class EmailTaken(Conflict):
    """409: another user of the tenant has this email."""

    code = "email_taken"
    title = "Email taken"


class LastOwner(Conflict):
    """409: a tenant keeps at least one active owner."""

    code = "last_owner"
    title = "Last owner"


class ExportNotDone(Conflict):
    """409: the export has no file, or none yet; `export_status` says how it stands."""

    code = "export_not_done"
    title = "Export is not done"


class TooManyExports(Conflict):
    """409: the tenant has as many exports waiting, or as many bytes in files, as it may have; delete one."""

    code = "too_many_exports"
    title = "Too many exports"


class IssuerTaken(Conflict):
    """409: another tenant of the platform has this audience of the issuer."""

    code = "issuer_taken"
    title = "Issuer taken"


class TooManyWebhooks(Conflict):
    """409: the tenant has as many webhook endpoints as it may have."""

    code = "too_many_webhooks"
    title = "Too many webhooks"


class WebhookDisabled(Conflict):
    """409: nothing is sent to a webhook endpoint that is disabled; enable it first."""

    code = "webhook_disabled"
    title = "Webhook is disabled"


class NotCheckpointed(Conflict):
    """409: no signed checkpoint covers the entry yet; the next one does, within seconds."""

    code = "not_checkpointed"
    title = "Not in a checkpoint yet"


class EventsExpired(LedgerError):
    """410: the events after the cursor are not kept any more; `oldest` is the first cursor that still works."""

    code = "events_expired"
    status = 410
    title = "Events expired"


class ExportExpired(LedgerError):
    """410: the file of the export is not kept any more; ask for the export again."""

    code = "export_expired"
    status = 410
    title = "Export expired"


class PreconditionFailed(LedgerError):
    """412: what the request was to change has changed since; `version` is what it stands at."""

    code = "precondition_failed"
    status = 412
    title = "Precondition failed"


class TooLarge(LedgerError):
    """413: the request body is larger than the limit."""

    code = "too_large"
    status = 413
    title = "Request body too large"


class RangeNotSatisfiable(LedgerError):
    """416: the file has no such range of bytes; `Content-Range` says how long it is."""

    code = "range_not_satisfiable"
    status = 416
    title = "No such range"


class UnsupportedMediaType(LedgerError):
    """415: the body is of a media type the operation does not take."""

    code = "unsupported_media_type"
    status = 415
    title = "Unsupported media type"


class Unprocessable(LedgerError):
    """422: the request was read, but breaks a rule of the ledger."""

    code = "unprocessable"
    status = 422
    title = "Request breaks a rule"


class InvalidField(Unprocessable):
    """422: one or more fields have an unusable value; `errors` lists them."""

    code = "invalid_field"
    title = "Invalid field"


class InvalidAmount(Unprocessable):
    """422: an amount that is not a positive decimal string of at most 30 digits."""

    code = "invalid_amount"
    title = "Invalid amount"


class TooManyDecimals(InvalidAmount):
    """422: an amount finer than the scale of the account's asset."""

    code = "too_many_decimals"
    title = "Too many decimals"


class Unbalanced(Unprocessable):
    """422: debits and credits differ; `difference` says by how much for each asset."""

    code = "unbalanced"
    title = "Transaction does not balance"


class UnknownAccount(Unprocessable):
    """422: a posting names an account that does not exist in this tenant."""

    code = "unknown_account"
    title = "Unknown account"


class UnknownAsset(Unprocessable):
    """422: the asset is not known to this tenant."""

    code = "unknown_asset"
    title = "Unknown asset"


class UnknownCategory(Unprocessable):
    """422: the tenant's categories are strict, and this one is not registered."""

    code = "unknown_category"
    title = "Unknown category"


class AssetMismatch(Unprocessable):
    """422: a posting states another asset than its account holds."""

    code = "asset_mismatch"
    title = "Asset mismatch"


class IssuerNotAllowed(Unprocessable):
    """422: the platform takes no tokens of this issuer, whoever trusts it."""

    code = "issuer_not_allowed"
    title = "Issuer not allowed"


class InsufficientFunds(Unprocessable):
    """422: the available balance would fall below the account's `min_balance`; `shortfall` says by how much."""

    code = "insufficient_funds"
    title = "Insufficient funds"


class LimitExceeded(Unprocessable):
    """422: the balance would rise above the account's `max_balance`; `excess` says by how much."""

    code = "limit_exceeded"
    title = "Limit exceeded"


class ExceedsTarget(Unprocessable):
    """422: more of an account than is `left` of the transaction to capture or to reverse."""

    code = "exceeds_target"
    title = "More than is left"


class BatchRefused(Unprocessable):
    """422: an atomic batch, of which nothing was recorded; `index` and `problem` tell its first refused item."""

    code = "batch_refused"
    title = "Batch refused"

    @classmethod
    def of(cls, index: int, error: LedgerError) -> "BatchRefused":
        """The refusal of a batch for the `error` of its item number `index`, from 0."""
        problem = {"code": error.code, "status": error.status, "title": error.title, "detail": error.detail}
        return cls(f"item {index}: {error.detail}", index=index, problem={**problem, **error.extra})


class IdempotencyKeyReused(Unprocessable):
    """422: the key was used before for a different request."""

    code = "idempotency_key_reused"
    title = "Idempotency key reused"


class TooCostly(Unprocessable):
    """422: the request costs more than a whole window of its rate limit allows; `limit` says how much that is."""

    code = "too_costly"
    title = "Request costs too much"


class RateLimited(LedgerError):
    """429: a rate limit has too little left; `policy` says which, and `Retry-After` when to come again."""

    code = "rate_limited"
    status = 429
    title = "Rate limit reached"

    def __init__(self, detail: str = "", *, retry_after_s: int, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.retry_after_s = retry_after_s


class TooManyAttempts(RateLimited):
    """429: too many attempts to log in failed; retry after `Retry-After` seconds."""

    code = "too_many_attempts"
    title = "Too many attempts"


class Unavailable(LedgerError):
    """503: the ledger cannot take the request now.

    Nothing says whether an earlier try with the same key was recorded: retry with the same key after `retry_after_s`
    seconds.
    """

    code = "unavailable"
    status = 503
    title = "Service unavailable"

    def __init__(self, detail: str = "", *, retry_after_s: int = 1, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """503: the queue of waiting commands is full; nothing was written."""

    code = "overloaded"
    title = "Overloaded"


class TooManyStreams(Unavailable):
    """503: too many event streams are open; close one, or try again later."""

    code = "too_many_streams"
    title = "Too many streams"


class ExportsOff(Unavailable):
    """503: this platform has no place for files of exports."""

    code = "exports_off"
    title = "No exports here"


class IssuerUnavailable(Unavailable):
    """503: the keys of the token's issuer cannot be had, so that nobody can say whether the token is good."""

    code = "issuer_unavailable"
    title = "Issuer unavailable"


class ConfigurationError(Exception):
    """A setting is missing or unusable; the message names the environment variable, never its value."""


def _kinds(kind: type[LedgerError]) -> Iterator[type[LedgerError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds(child)


# All errors by their codes, but the internal one that nobody should ever meet.
ERRORS = {kind.code: kind for kind in _kinds(LedgerError)}
