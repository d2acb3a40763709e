"""`kubectl ledgerx`: the platform of a cluster, seen by whoever has a kubeconfig."""
