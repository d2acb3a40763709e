"""Options that subcommands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

DEFAULT_DATA = Path(".ledgerx")

Data: TypeAlias = Annotated[Path, Parameter(env_var="LEDGERX_DATA", help="The platform's data directory.")]
AsJson: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
