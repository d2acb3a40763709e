"""The projections that there are."""

from ledgerx_streams.projections import entries
from ledgerx_streams.projections.audit import AUDIT
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projections.checkpoints import CHECKPOINTS
from ledgerx_streams.projections.volumes import VOLUMES

# Those of rows alone, and the names of all.
PROJECTIONS = (BALANCES, VOLUMES, CHECKPOINTS, AUDIT)
NAMES = (*(one.name for one in PROJECTIONS), entries.NAME)
