"""The rules, by what they are about. `ledgerx.decide` runs them."""
