"""The server against its own OpenAPI document, by schemathesis: no input fails it, and it answers as documented."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from ledgerx.database import connect
from ledgerx.logins import Database
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import ClientCredentials, let_members_post
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient

ROOT = Path(__file__).parents[2]
# Those that fuzzing with one token cannot satisfy, such as that a deleted thing is gone, are left to other tests.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", [Role.OWNER, Role.OPERATOR, Role.MEMBER])
async def test_no_input_makes_the_server_fail_or_answer_otherwise_than_documented(
    api: ApiProcess, client: LedgerClient, credentials: ClientCredentials, shared_database: Database, role: Role
) -> None:
    for number in range(3):
        assert (await client.transfer(f"k{number}")).status == 201
    person = Principal(credentials.tenant_id, f"user:{uuid4()}", SCOPES[role], role)
    async with await connect(shared_database.owner_url, application_name="test") as connection:
        await let_members_post(connection, credentials.tenant_id, allowed=True)
    owned = await client.request("PATCH", "/v1/accounts/user", body={"owner": str(person.user_id)})
    assert owned.status == 200
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.base_url}/docs/openapi.json"),
        *("--url", api.base_url, "-H", f"Authorization: Bearer {api.sign(person)}"),
        *("-H", f"LedgerX-Tenant: {credentials.tenant_id}"),
        # A stream has no end.
        *("--exclude-path", "/v1/events/stream"),
        *("--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--continue-on-failure"),
        *("--generation-database", "none", "--seed", "1", "--no-color"),
    ]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks"}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # All operations but the stream were tried.
    assert (tested := re.search(r"Selected: (\d+)/(\d+)", done.stdout)) is not None, done.stdout
    assert int(tested[1]) == int(tested[2]) - 1 > 30
