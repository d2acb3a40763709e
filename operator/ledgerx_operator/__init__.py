"""The Kubernetes operator of LedgerX (kopf): tenants as custom resources."""
