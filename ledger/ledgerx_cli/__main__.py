"""`python -m ledgerx_cli` is `ledgerx`."""

from ledgerx_cli.main import main

main()
