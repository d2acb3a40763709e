"""Settings read from the environment."""

from pathlib import Path

import msgspec
import pytest

from ledgerx.errors import ConfigurationError
from ledgerx.settings import Secret, load
from tests.routes import new_app


class Example(msgspec.Struct, frozen=True):
    database_url: Secret
    keys: Path
    port: int = 8080
    rate: float = 0.5
    quiet: bool = False
    region: str | None = None
    token: Secret | None = None


REQUIRED = {"LEDGERX_DATABASE_URL": "postgresql://api:s3cret@db/ledger", "LEDGERX_KEYS": "/etc/keys.json"}


def test_fields_come_from_prefixed_variables_of_their_type() -> None:
    settings = load(Example, {**REQUIRED, "LEDGERX_PORT": "9000", "LEDGERX_QUIET": "true", "PORT": "1"})
    assert settings.database_url.reveal() == REQUIRED["LEDGERX_DATABASE_URL"]
    assert (settings.keys, settings.port, settings.quiet) == (Path("/etc/keys.json"), 9000, True)
    assert (settings.rate, settings.region, settings.token) == (0.5, None, None)


def test_an_optional_secret_is_one_too() -> None:
    assert repr(load(Example, {**REQUIRED, "LEDGERX_TOKEN": "s3cret"}).token) == "Secret(***)"


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_a_missing_variable_is_named(missing: str) -> None:
    environ = {name: value for name, value in REQUIRED.items() if name != missing}
    with pytest.raises(ConfigurationError, match=f"{missing} is not set"):
        load(Example, environ)


@pytest.mark.parametrize("variable", ["LEDGERX_PORT", "LEDGERX_RATE", "LEDGERX_QUIET"])
def test_a_value_of_the_wrong_type_is_named_but_not_shown(variable: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Example, {**REQUIRED, variable: "s3cret"})
    assert variable in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_secret_never_shows_itself() -> None:
    settings = load(Example, REQUIRED)
    shown = f"{settings} {settings!r} {settings.database_url} {settings.database_url!r} {[settings.database_url]}"
    assert "s3cret" not in shown


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**REQUIRED, "LEDGERX_PORT": "9001"}.items():
        monkeypatch.setenv(name, value)
    assert load(Example).port == 9001


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    token = load(Example, {**REQUIRED, "LEDGERX_TOKEN_FILE": str(file)}).token
    assert token is not None
    assert token.reveal() == "s3cret"


def test_a_required_secret_can_too(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://")
    given = {"LEDGERX_KEYS": "/etc/keys.json", "LEDGERX_DATABASE_URL_FILE": str(file)}
    assert load(Example, given).database_url.reveal() == "postgresql://"


@pytest.mark.parametrize("environ", [{"LEDGERX_TOKEN": "a"}, {}])
def test_a_file_that_is_not_there_or_not_alone_is_an_error(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LEDGERX_TOKEN_FILE"):
        load(Example, {**REQUIRED, **environ, "LEDGERX_TOKEN_FILE": str(tmp_path / "none")})


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "region"
    file.write_text("eu")
    assert load(Example, {**REQUIRED, "LEDGERX_REGION_FILE": str(file)}).region is None


@pytest.mark.parametrize(
    ("variable", "settings"),
    [
        ("LEDGERX_OIDC_ISSUERS", {"oidc_issuers": "login.example.com"}),
        ("LEDGERX_OIDC_ISSUERS", {"oidc_issuers": "https://a.example.com, http://b.example.com"}),
        ("LEDGERX_OIDC_ISSUERS", {"oidc_issuers": "http://127.0.0.1:8080", "oidc_networks": "10.0.0.0/8"}),
        ("LEDGERX_OIDC_ISSUERS", {"oidc_issuers": "https://a.example.com", "issuer": "https://a.example.com"}),
        ("LEDGERX_OIDC_NETWORKS", {"oidc_networks": "10.0.0.1/8"}),
        ("LEDGERX_TRUSTED_PROXIES", {"trusted_proxies": "10.0.0.1/8"}),
    ],
)
def test_the_api_does_not_start_with_issuers_that_it_cannot_ask(
    tmp_path: Path, variable: str, settings: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        new_app(tmp_path, **settings)


def test_the_api_starts_with_issuers_on_loopback_where_that_is_said(tmp_path: Path) -> None:
    assert new_app(tmp_path, oidc_issuers="http://localhost:1/a http://[::1]:1/", oidc_networks="127.0.0.1, ::1")
