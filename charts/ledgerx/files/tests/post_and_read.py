"""Post a balanced transaction to a tenant and read its balance: what `helm test` runs in the image of LedgerX.

The folder that the argument names has the connection, as the tenant's Secret has it. Every run opens two accounts of
its own and posts a cent from one to the other.
"""

import sys
import uuid
from pathlib import Path

from httpx2 import Client, HTTPTransport

TIMEOUT_S = 10
# A Service may name a pod that is going for seconds.
CONNECT_ATTEMPTS = 5


def main() -> None:
    """Raises `HTTPError` where a request fails, and `SystemExit` where the balance is wrong."""
    folder = Path(sys.argv[1])
    url, client_id, client_secret = ((folder / name).read_text() for name in ("uri", "client-id", "client-secret"))
    with Client(base_url=url, timeout=TIMEOUT_S, transport=HTTPTransport(retries=CONNECT_ATTEMPTS)) as client:
        form = {"grant_type": "client_credentials"}
        answer = client.post("/v1/auth/token", data=form, auth=(client_id, client_secret)).raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        run = uuid.uuid4().hex
        source, target = f"helm-test:{run}:from", f"helm-test:{run}:to"
        for code, kind in ((source, "asset"), (target, "liability")):
            client.post("/v1/accounts", json={"code": code, "asset": "EUR", "type": kind}).raise_for_status()
        key = {"Idempotency-Key": f'"{run}"'}
        transaction = {"debit": source, "credit": target, "amount": "0.01"}
        client.post("/v1/transactions", json=transaction, headers=key).raise_for_status()
        posted = client.get(f"/v1/accounts/{target}/balance").raise_for_status().json()["posted"]
    if posted != "0.01":
        sys.exit(f"{target} has {posted}, not 0.01")
    print(f"posted 0.01 EUR to {target}, and read it back")


if __name__ == "__main__":
    main()
