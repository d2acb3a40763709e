"""The projections that there are."""

from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projections.volumes import VOLUMES

PROJECTIONS = (BALANCES, VOLUMES)
