"""`ledgerx bench`: closed-loop load against a running platform, with yardsticks from the same servers."""
