"""The command `ledgerx`: subcommands, the embedded platform of `ledgerx up` and its supervisor."""
