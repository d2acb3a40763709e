"""What the resources declare, as the schemas in charts/ledgerx-crds let it through."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ledgerx.exports import Dataset, Format
from ledgerx.registries import WantedAsset
from ledgerx.roles import Role
from ledgerx.snapshots import SnapshotSettings
from ledgerx.tenancy import Scope
from ledgerx.trust import Algorithm, Trust
from ledgerx.webhooks import Target

S = TypeVar("S", bound=msgspec.Struct)


class _Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Reference(_Spec, frozen=True):
    """Another object in the same namespace."""

    name: str


class SecretKey(_Spec, frozen=True):
    """A key of a Secret in the same namespace."""

    name: str
    key: str = "uri"


class CnpgCluster(_Spec, frozen=True):
    """A Cluster of CloudNativePG in the same namespace; None is what it was made with."""

    name: str
    database: str | None = None
    owner: str | None = None


class Limits(_Spec, frozen=True):
    """Limits of a tenant; None says nothing."""

    requests_per_second: int | None = None
    accounts: int | None = None


class Members(_Spec, frozen=True):
    """What people may do who make themselves members."""

    registration: bool = False
    may_post: bool = False


class Categories(_Spec, frozen=True):
    """Whether others than registered ones are refused; None leaves it alone."""

    strict: bool | None = None


class Auth(_Spec, frozen=True):
    """An issuer outside, see `ledgerx.trust.Trust`."""

    issuer: str
    audience: str
    role_claim: tuple[str, ...]
    roles: Mapping[str, Role]
    scopes_claim: tuple[str, ...] | None = None
    algorithms: tuple[Algorithm, ...] = tuple(Algorithm)

    def trust(self) -> Trust:
        """The same as the ledger keeps it."""
        return Trust(**msgspec.structs.asdict(self))


class Snapshots(_Spec, frozen=True):
    """When balances are captured and for how long that is kept; None leaves it alone."""

    schedule: tuple[str, ...] | None = None
    retention_days: int | None = None

    def over(self, known: SnapshotSettings) -> SnapshotSettings:
        """The settings with what is said here instead."""
        return SnapshotSettings(
            schedule=known.schedule if self.schedule is None else self.schedule,
            retention_days=known.retention_days if self.retention_days is None else self.retention_days,
        )


class Webhook(_Spec, frozen=True):
    """An endpoint that events are sent to, of all types unless some are named."""

    name: str
    url: str
    description: str | None = None
    event_types: tuple[str, ...] | None = None

    def target(self) -> Target:
        """The same as the ledger keeps it."""
        return Target(url=self.url, description=self.description, event_types=self.event_types)


class BootstrapUser(_Spec, frozen=True):
    """The first owner of a tenant."""

    email: str


class TenantSpec(_Spec, frozen=True):
    """A LedgerTenant's."""

    time_zone: str = "UTC"
    database_ref: Reference | None = None
    suspended: bool = False
    limits: Limits = Limits()
    assets: tuple[WantedAsset, ...] = ()
    categories: Categories = Categories()
    members: Members = Members()
    auth: Auth | None = None
    snapshots: Snapshots = Snapshots()
    webhooks: tuple[Webhook, ...] = ()
    bootstrap_user: BootstrapUser | None = None
    connection_secret_name: str | None = None
    adopt_tenant_id: str | None = msgspec.field(default=None, name="adoptTenantID")
    deletion_policy: str = "Retain"


class Requirement(_Spec, frozen=True):
    """One expression of a label selector."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """As Kubernetes defines it: NotIn also holds where the label is missing."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


class Selector(_Spec, frozen=True):
    """A label selector; an empty one selects everything."""

    match_labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether all of it holds."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.holds(labels) for requirement in self.match_expressions
        )


class AllowedNamespaces(_Spec, frozen=True):
    """Which namespaces may bring tenants."""

    selector: Selector


class AllowedAdoption(_Spec, frozen=True):
    """Who may take over a tenant."""

    tenant_id: str = msgspec.field(name="tenantID")
    namespace: str
    name: str


class Events(_Spec, frozen=True):
    """For how many days the outbox is kept; None leaves it to the streams."""

    retention_days: int | None = None


class DatabaseSpec(_Spec, frozen=True):
    """A LedgerDatabase's; it has either of the two references."""

    admin_secret_ref: SecretKey | None = None
    cnpg_cluster_ref: CnpgCluster | None = None
    allowed_namespaces: AllowedNamespaces | None = None
    allowed_adoptions: tuple[AllowedAdoption, ...] = ()
    tenant_defaults: Limits = Limits()
    tenant_maxima: Limits = Limits()
    max_tenants: int = 10_000
    schedulable: bool = True
    events: Events = Events()

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether a namespace with these labels may bring tenants."""
        return self.allowed_namespaces is not None and self.allowed_namespaces.selector.selects(labels)

    def lets_adopt(self, tenant_id: str, namespace: str, name: str) -> bool:
        """Whether this object may take over the tenant."""
        return AllowedAdoption(tenant_id=tenant_id, namespace=namespace, name=name) in self.allowed_adoptions

    def limits(self, wanted: Limits) -> Limits:
        """What a tenant gets that wants these: the database's defaults where it says nothing, its maxima at most."""
        return Limits(
            **{
                name: _capped(
                    getattr(wanted, name) or getattr(self.tenant_defaults, name), getattr(self.tenant_maxima, name)
                )
                for name in Limits.__struct_fields__
            }
        )


class ClientSpec(_Spec, frozen=True):
    """A LedgerClient's."""

    tenant_ref: Reference
    scopes: frozenset[Scope]
    secret_name: str | None = None


class ExportSpec(_Spec, frozen=True):
    """A LedgerExport's: once unless there is a schedule, a cron expression in the tenant's time zone."""

    tenant_ref: Reference
    format: Format
    dataset: Dataset
    schedule: str | None = None
    destination: str | None = None


def spec_of(body: Mapping[str, Any], kind: type[S]) -> S:
    """The spec of an object; fields that this release does not know are not looked at."""
    return msgspec.convert(body["spec"], kind)


def _capped(wanted: int | None, most: int | None) -> int | None:
    return min((one for one in (wanted, most) if one is not None), default=None)
