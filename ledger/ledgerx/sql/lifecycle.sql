-- name: declared
-- The tenant that an owner outside declared.
SELECT tenant_id, name, owner, state, time_zone, allow_registration, members_may_post, requests_per_second
FROM ledgerx.tenants
WHERE owner = %(owner)s;

-- name: named
-- The tenant with this name.
SELECT tenant_id, name, owner, state, time_zone, allow_registration, members_may_post, requests_per_second
FROM ledgerx.tenants
WHERE name = %(name)s;

-- name: identified
-- The tenant with this id.
SELECT tenant_id, name, owner, state, time_zone, allow_registration, members_may_post, requests_per_second
FROM ledgerx.tenants
WHERE tenant_id = %(tenant_id)s;

-- name: hand_over
-- Gives a tenant to another owner, under the name that it declares.
UPDATE ledgerx.tenants SET owner = %(owner)s, name = %(name)s
WHERE tenant_id = %(tenant_id)s AND state IN ('active', 'suspended')
RETURNING tenant_id;

-- name: set_head_state
-- Lets nothing be recorded, or lets it again; waits for the batch that is on its way.
UPDATE ledgerx.heads SET suspended = %(suspended)s WHERE tenant_id = %(tenant_id)s;

-- name: set_state
-- The state of a tenant; who is being deleted never comes back.
UPDATE ledgerx.tenants SET state = %(state)s, changed_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND state <> %(state)s
    AND (state IN ('active', 'suspended') OR %(state)s = 'deleting')
RETURNING tenant_id;

-- name: set_rate
-- The requests a second that a tenant may send; null is what the platform lets all tenants.
UPDATE ledgerx.tenants SET requests_per_second = %(requests_per_second)s, changed_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND requests_per_second IS DISTINCT FROM %(requests_per_second)s
RETURNING tenant_id;

-- name: set_max_accounts
-- The accounts that a tenant may open; null is what the platform lets all tenants.
UPDATE ledgerx.heads SET max_accounts = %(max_accounts)s
WHERE tenant_id = %(tenant_id)s AND max_accounts IS DISTINCT FROM %(max_accounts)s
RETURNING tenant_id;

-- name: purge
-- Removes rows of a tenant that is being deleted.
SELECT ledgerx.purge_tenant(%(tenant_id)s, %(most)s);

-- name: count_tenants
-- The tenants that take a place.
SELECT count(*) FROM ledgerx.tenants WHERE state <> 'purged';

-- name: usage
-- How much each tenant holds, and how it is.
SELECT
    tenant_id, accounts, seq, recorded_at, transactions, last_transaction_at, lag_s, findings, webhooks_down
FROM ledgerx.tenants_usage();

-- name: set_outbox_retention
-- For how many days the outbox is kept; null is what the streams are set to.
UPDATE ledgerx.outbox_settings SET retention_days = %(days)s WHERE retention_days IS DISTINCT FROM %(days)s;

-- name: changed
-- The tenants that changed since a moment.
SELECT tenant_id, state, requests_per_second, changed_at FROM ledgerx.tenants_changed(%(since)s);
