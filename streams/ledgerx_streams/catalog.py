"""The projections that there are."""

from ledgerx_streams.projections.audit import AUDIT
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projections.checkpoints import CHECKPOINTS
from ledgerx_streams.projections.volumes import VOLUMES

PROJECTIONS = (BALANCES, VOLUMES, CHECKPOINTS, AUDIT)
