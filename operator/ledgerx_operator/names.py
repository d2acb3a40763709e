"""The names that LedgerX has in a cluster. None is kopf's own, so that other operators made with it can run beside."""

GROUP = "ledgerx.io"
VERSION = "v1alpha1"
TENANTS = "ledgertenants"
DATABASES = "ledgerdatabases"
CLIENTS = "ledgerclients"
EXPORTS = "ledgerexports"

# kopf keeps its bookkeeping below this prefix.
OPERATOR_PREFIX = "operator.ledgerx.io"
FINALIZER = f"{OPERATOR_PREFIX}/finalizer"

PAUSED = f"{GROUP}/paused"
ROTATE_AT = f"{GROUP}/rotate-at"
ROTATED_FOR = f"{GROUP}/rotated-for"
CONFIRM_DELETE = f"{GROUP}/confirm-delete"

MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "ledgerx-operator"
LEASE = "ledgerx-operator"
SECRET_TYPE = "servicebinding.io/ledgerx"  # noqa: S105 - a name
DATABASE_SECRETS = {role: f"ledgerx-databases-{role}" for role in ("api", "streams", "relay")}
# The platform's keys, in files as API and streams mount them.
KEYS = "ledgerx-keys"
SEALING_KEYS = "sealing.json"
