"""The chart takes the values that there are, and says what is wrong with others."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ledgerx_api.settings import ApiSettings
from ledgerx_operator.settings import OperatorSettings
from ledgerx_streams.kafka_access import KafkaSettings
from ledgerx_streams.relay.settings import Settings as RelaySettings
from ledgerx_streams.settings import Settings as StreamsSettings
from tests.chart.rendering import CHART, RefusedError, Values, profile, render, variable, with_value
from tests.chart.test_values import external

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
PARTS: dict[str, type[msgspec.Struct]] = {
    "api": ApiSettings,
    "relay": RelaySettings,
    "streams": StreamsSettings,
    "operator": OperatorSettings,
}
# Those that other values, or the chart itself, set.
NOT_SETTINGS = {
    *(field.name for field in msgspec.structs.fields(KafkaSettings)),
    *("namespace", "api_url", "watch_namespaces", "configuration"),
    *("database_url", "databases", "engine_database_url", "engine_databases"),
    *("keys", "sealing_keys", "checkpoint_keys", "webhooks_allow_private"),
    *("oidc_issuers", "oidc_networks", "exports_url", "exports_destinations", "exports_tenant_bytes"),
    *("rate_limit_url", "relay_slot"),
    *("host", "port", "management_host", "management_port", "log_level"),
}
SAMPLES = {"string": "x", "integer": 1_000_000, "number": 2.5, "boolean": True}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the definition that it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMA["definitions"][name] if name else schema


def maps(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The paths of all maps of the values, and their schemas."""
    schema = resolved(schema)
    if "properties" in schema:
        yield path, schema
        for name, one in schema["properties"].items():
            yield from maps(one, f"{path}.{name}".lstrip("."))


MAPS = dict(maps(SCHEMA))


def camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


@pytest.mark.parametrize("path", MAPS)
def test_an_unknown_key_is_refused(path: str) -> None:
    assert MAPS[path]["additionalProperties"] is False
    with pytest.raises(RefusedError, match="'unheardOf' not allowed"):
        render(with_value(external(), f"{path}.unheardOf".lstrip("."), 1))


@pytest.mark.parametrize(
    ("path", "item"), [("databases", {"name": "a", "spec": {}}), ("imagePullSecrets", {"name": "a"})]
)
def test_an_unknown_key_of_an_item_is_refused(path: str, item: Values) -> None:
    with pytest.raises(RefusedError, match="'unheardOf' not allowed"):
        render(with_value(external(), path, [item | {"unheardOf": 1}]))


@pytest.mark.parametrize("part", PARTS)
def test_the_settings_of_a_part_are_those_of_the_code(part: str) -> None:
    fields = {field.name for field in msgspec.structs.fields(PARTS[part])} - NOT_SETTINGS
    known = SCHEMA["definitions"][f"{part}Settings"]["properties"]
    assert known.keys() == {camel_case(name) for name in fields}
    values = {
        name: known[camel_case(name)].get("enum", [SAMPLES[known[camel_case(name)].get("type", "string")]])[0]
        for name in fields
    }
    for name in fields:
        schema = known[camel_case(name)]
        values[name] = min(values[name], schema.get("maximum", values[name])) if "maximum" in schema else values[name]
    given = external(**{f"{part}__settings": {camel_case(name): value for name, value in values.items()}})
    objects = render(given)
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        assert variable(part, f"LEDGERX_{name.upper()}")(objects) == shown


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "databases\\[0\\].spec needs adminSecretRef"),
        ({**external(), "kafka": {}}, "set kafka.bootstrapServers"),
        (external(exports__enabled=True), "one of exports.s3.bucket and exports.existingClaim"),
        (
            external(exports__enabled=True, exports__s3__bucket="b", exports__existingClaim="c"),
            "one of exports.s3.bucket and exports.existingClaim",
        ),
        (external(kafka__securityProtocol="SASL_SSL"), "needs kafka.sasl.username"),
        (external(cdc__mode="debezium"), "needs cdc.debezium.connectCluster"),
        (external(ingress__enabled=True), "ingress.hosts is empty"),
        (external(kafka__bootstrapServers="kafka"), "does not match pattern"),
        (external(image__digest="latest"), "does not match pattern"),
        (external(api__service__port=70_000), "maximum: got 70,000, want 65,535"),
        (external(logLevel="LOUD"), "value must be one of"),
        (with_value(profile("demo"), "strimzi.enabled", True), "has servers of its own"),
        (with_value(profile("demo"), "operator.enabled", False), "demo.enabled needs operator.enabled"),
    ],
)
def test_values_that_do_not_go_together_are_refused(values: Values, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        render(values)
