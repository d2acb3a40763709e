"""Each value of the chart changes what it should."""

from typing import Any, NamedTuple

import pytest
import yaml

from tests.chart.documented_values import documented_values
from tests.chart.rendering import (
    CHART,
    ROOT,
    Look,
    Values,
    at,
    configuration,
    container,
    find,
    last,
    mounted,
    pods,
    profile,
    render,
    there,
    variable,
    with_value,
)

DEPLOYED = ("api", "relay", "streams", "operator")
PARTS = (*DEPLOYED, "demo")


class Case(NamedTuple):
    """What `look` finds in a release with `given` and this value, and not in one with `given` alone."""

    path: str
    value: Any
    look: Look
    expected: Any
    given: Values


def external(**values: Any) -> Values:
    """Servers that are there already, without the custom resources, and more values by their paths (`__` is a dot)."""
    given = with_value(profile("external"), "crds.install", False)
    for path, value in values.items():
        given = with_value(given, path.replace("__", "."), value)
    return given


def case(path: str, value: Any, look: Look, expected: Any = None, **given: Any) -> Case:
    """A case of the profile external; what is looked for is the value itself unless said."""
    return Case(path, value, look, value if expected is None else expected, external(**given))


def demo_case(path: str, value: Any, look: Look, expected: Any = None) -> Case:
    """A case of the profile demo."""
    return Case(path, value, look, value if expected is None else expected, profile("demo"))


def secret_volume(name: str, **items: str) -> dict[str, Any]:
    """The source of a volume that has keys of a Secret as files; items are path and key."""
    listed = [{"key": key, "path": path} for path, key in items.items()]
    return {"secret": {"name": name, "items": listed}}


def name_of(kind: str) -> Look:
    """The names of all objects of a kind."""
    return lambda objects: sorted(one["metadata"]["name"] for one in objects if one["kind"] == kind)


def labels_everywhere(key: str) -> Look:
    """The values of a label of all objects."""
    return lambda objects: {one["metadata"]["labels"].get(key) for one in objects}


def pod_cases(part: str) -> list[Case]:
    """What all parts have in common."""
    make = demo_case if part == "demo" else case
    item = {"name": "EXTRA", "value": "1"}
    mount = {"name": "extra", "mountPath": "/extra"}
    volume = {"name": "extra", "emptyDir": {}}
    spread = {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    of_part = {f"app.kubernetes.io/{key}": value for key, value in (("name", "ledgerx"), ("instance", "ledgerx"))}
    selector = {"labelSelector": {"matchLabels": {**of_part, "app.kubernetes.io/component": part}}}
    affinity: Values = {"nodeAffinity": {}}
    sources = [{"secretRef": {"name": "more"}}]
    resources = {"limits": {"cpu": 3}}
    return [
        make(f"{part}.resources", resources, container(part, "resources", "limits", "cpu"), 3),
        make(f"{part}.terminationGracePeriodSeconds", 77, pods(part, "spec", "terminationGracePeriodSeconds")),
        make(f"{part}.podLabels", {"team": "money"}, pods(part, "metadata", "labels", "team"), "money"),
        make(f"{part}.podAnnotations", {"note": "x"}, pods(part, "metadata", "annotations", "note"), "x"),
        make(f"{part}.priorityClassName", "high", pods(part, "spec", "priorityClassName")),
        make(f"{part}.nodeSelector", {"disk": "fast"}, pods(part, "spec", "nodeSelector")),
        make(f"{part}.tolerations", [{"key": "money"}], pods(part, "spec", "tolerations")),
        make(f"{part}.affinity", affinity, pods(part, "spec", "affinity")),
        make(
            f"{part}.topologySpreadConstraints",
            [spread],
            pods(part, "spec", "topologySpreadConstraints"),
            [spread | selector],
        ),
        make(f"{part}.extraEnv", [item], variable(part, "EXTRA"), "1"),
        make(f"{part}.extraEnvFrom", sources, container(part, "envFrom")),
        make(f"{part}.extraVolumes", [volume], last(pods(part, "spec", "volumes")), volume),
        make(f"{part}.extraVolumeMounts", [mount], last(container(part, "volumeMounts")), mount),
    ]


def deployed_cases(part: str) -> list[Case]:
    """What the parts have in common that several pods run of."""
    budget = ("PodDisruptionBudget", part)
    return [
        case(f"{part}.replicas", 7, at("Deployment", part, "spec", "replicas")),
        case(f"{part}.podDisruptionBudget.enabled", False, there(*budget), False),
        case(
            f"{part}.podDisruptionBudget.maxUnavailable",
            "30%",
            at(*budget, "spec", "maxUnavailable"),
        ),
    ]


SASL = {"kafka__securityProtocol": "SASL_SSL", "kafka__sasl__username": "u", "kafka__sasl__passwordSecret__name": "s"}
CLIENT = {"kafka__securityProtocol": "SSL", "kafka__tls__clientSecret__name": "c"}
KAFKA_VOLUME = mounted("relay", "/run/ledgerx/kafka")
KAFKA_SOURCE: Look = lambda objects: KAFKA_VOLUME(objects)["projected"]["sources"][0]  # noqa: E731 - as its neighbours
S3 = {"exports__enabled": True, "exports__s3__bucket": "b"}
ACCOUNT = ("ServiceAccount", "operator")
CNPG = {"cnpg__enabled": True}
CLUSTER = ("Cluster", "postgres", "spec")
STRIMZI = {"strimzi__enabled": True}
KAFKA = ("Kafka", "kafka", "spec", "kafka")
POOL = ("KafkaNodePool", "kafka", "spec")
HPA = ("HorizontalPodAutoscaler", "api", "spec")
SCALED = ("ScaledObject", "streams", "spec")
INGRESS = {"ingress__enabled": True, "ingress__hosts": ["a.example"]}
ROUTE = {"httpRoute__enabled": True, "httpRoute__parentRefs": [{"name": "public"}]}
POLICY = {"networkPolicy__enabled": True}
MONITOR = {"metrics__monitor": "PodMonitor"}
ALERTS = {"alerts__enabled": True}
RULES = ("PrometheusRule", "", "spec", "groups", 0, "rules")
FIRST, SECOND = ("LedgerxApiFailing", "LedgerxPostingSlow")
DASHBOARDS = {"dashboards__enabled": True}
DASHBOARD = ("ConfigMap", "dashboard-api", "metadata")
DEBEZIUM = {
    "cdc__mode": "debezium",
    "cdc__debezium__connectCluster": "connect",
    "cdc__debezium__connectors": [
        {"name": "one", "config": {"database.hostname": "h", "database.dbname": "d", "database.password": "p"}}
    ],
}
CRDS = sorted(f"{path.stem}.ledgerx.io" for path in (ROOT / "charts/ledgerx-crds/templates").glob("*.yaml"))
OFF = {"operator__enabled": False}
JOURNAL_TOPIC: Look = lambda objects: (find(objects, "KafkaTopic", "ledgerx.events.journal") or {}).get("spec")  # noqa: E731


def of_journal(key: str) -> Look:
    """A field of the journal's topic."""
    return lambda objects: (JOURNAL_TOPIC(objects) or {}).get(key)


CASES = [
    *(one for part in PARTS for one in pod_cases(part)),
    *(one for part in DEPLOYED for one in deployed_cases(part)),
    case("crds.install", True, name_of("CustomResourceDefinition"), CRDS),
    case("nameOverride", "money", name_of("Deployment"), [f"ledgerx-money-{part}" for part in sorted(DEPLOYED)]),
    case("fullnameOverride", "money", name_of("Deployment"), [f"money-{part}" for part in sorted(DEPLOYED)]),
    case("commonLabels", {"team": "money"}, labels_everywhere("team"), {"money"}),
    case("image.repository", "r.example/ledgerx", container("relay", "image"), "r.example/ledgerx:0.1.0"),
    case("image.tag", "2.0", container("relay", "image"), "ledgerx:2.0"),
    case("image.digest", f"sha256:{'a' * 64}", container("relay", "image"), f"ledgerx@sha256:{'a' * 64}"),
    case("image.pullPolicy", "Always", container("relay", "imagePullPolicy")),
    case("imagePullSecrets", [{"name": "pull"}], pods("relay", "spec", "imagePullSecrets")),
    case("serviceAccount.annotations", {"a": "b"}, at("ServiceAccount", "", "metadata", "annotations")),
    case("podSecurityContext", {"runAsUser": 1000}, pods("relay", "spec", "securityContext", "runAsUser"), 1000),
    case("containerSecurityContext", {"privileged": False}, container("relay", "securityContext", "privileged"), False),
    case(
        "clusterDomain",
        "c.example",
        variable("operator", "LEDGERX_API_URL"),
        "http://ledgerx-api.platform.svc.c.example:8080",
    ),
    case("logLevel", "DEBUG", variable("streams", "LEDGERX_LOG_LEVEL")),
    case("tracing.endpoint", "http://otel:4318", variable("api", "OTEL_EXPORTER_OTLP_ENDPOINT")),
    case(
        "databases",
        [{"name": "one", "spec": {"adminSecretRef": {"name": "s"}, "maxTenants": 1_000_000}}],
        configuration,
        {
            "databases": [{"name": "one", "spec": {"adminSecretRef": {"name": "s"}, "maxTenants": 1_000_000}}],
            "adminSecrets": [],
        },
    ),
    case("kafka.bootstrapServers", "a:1,b:2", variable("relay", "LEDGERX_KAFKA")),
    case("kafka.journalPartitions", 64, at(*SCALED, "maxReplicaCount"), streams__autoscaling__enabled=True),
    case("kafka.journalPartitions", 64, of_journal("partitions"), **STRIMZI),
    case("kafka.securityProtocol", "SSL", variable("streams", "LEDGERX_KAFKA_SECURITY_PROTOCOL")),
    case(
        "kafka.tls.caSecret.name",
        "ca",
        KAFKA_VOLUME,
        {"projected": {"defaultMode": 0o440, "sources": [secret_volume("ca", **{"ca.crt": "ca.crt"})]}},
        kafka__securityProtocol="SSL",
    ),
    case(
        "kafka.tls.caSecret.key",
        "root.pem",
        KAFKA_SOURCE,
        secret_volume("ca", **{"ca.crt": "root.pem"}),
        kafka__securityProtocol="SSL",
        kafka__tls__caSecret__name="ca",
    ),
    case(
        "kafka.tls.clientSecret.name",
        "other",
        KAFKA_SOURCE,
        secret_volume("other", **{"tls.crt": "tls.crt", "tls.key": "tls.key"}),
        **CLIENT,
    ),
    case(
        "kafka.tls.clientSecret.certKey",
        "user.crt",
        KAFKA_SOURCE,
        secret_volume("c", **{"tls.crt": "user.crt", "tls.key": "tls.key"}),
        **CLIENT,
    ),
    case(
        "kafka.tls.clientSecret.keyKey",
        "user.key",
        KAFKA_SOURCE,
        secret_volume("c", **{"tls.crt": "tls.crt", "tls.key": "user.key"}),
        **CLIENT,
    ),
    case(
        "kafka.tls.clientSecret.passwordKey",
        "pass",
        KAFKA_SOURCE,
        secret_volume("c", **{"tls.crt": "tls.crt", "tls.key": "tls.key", "tls.password": "pass"}),
        **CLIENT,
    ),
    case(
        "kafka.tls.clientSecret.passwordKey",
        "pass",
        variable("streams", "LEDGERX_KAFKA_KEY_PASSWORD_FILE"),
        "/run/ledgerx/kafka/tls.password",
        **CLIENT,
    ),
    case("kafka.sasl.mechanism", "PLAIN", variable("streams", "LEDGERX_KAFKA_SASL_MECHANISM"), **SASL),
    case("kafka.sasl.username", "me", variable("relay", "LEDGERX_KAFKA_USERNAME"), **SASL),
    case("kafka.sasl.passwordSecret.name", "other", KAFKA_SOURCE, secret_volume("other", password="password"), **SASL),
    case("kafka.sasl.passwordSecret.key", "pw", KAFKA_SOURCE, secret_volume("s", password="pw"), **SASL),
    case("cdc.mode", "debezium", there("Deployment", "relay"), False, cdc__debezium__connectCluster="connect"),
    case(
        "cdc.slot",
        "other",
        lambda objects: [variable(part, "LEDGERX_RELAY_SLOT")(objects) for part in ("relay", "streams")],
        ["other", "other"],
    ),
    case("cdc.slot", "other", at("KafkaConnector", "one", "spec", "config", "slot.name"), **DEBEZIUM),
    case(
        "cdc.debezium.connectCluster",
        "other",
        at("KafkaConnector", "one", "metadata", "labels", "strimzi.io/cluster"),
        **DEBEZIUM,
    ),
    case(
        "cdc.debezium.connectors",
        [{"name": "two", "config": {"database.hostname": "h", "database.dbname": "d", "database.password": "p"}}],
        at("KafkaConnector", "two", "spec", "config", "database.hostname"),
        "h",
        **DEBEZIUM,
    ),
    case("exports.enabled", True, variable("api", "LEDGERX_EXPORTS_URL"), "s3://b", exports__s3__bucket="b"),
    case(
        "exports.existingClaim",
        "shared",
        mounted("streams", "/var/lib/ledgerx/exports"),
        {"persistentVolumeClaim": {"claimName": "shared"}},
        **{**S3, "exports__s3__bucket": "", "exports__existingClaim": "other"},
    ),
    case(
        "exports.destinations",
        {"archive": "s3://a/p", "bank": "s3://b"},
        lambda objects: [variable(part, "LEDGERX_EXPORTS_DESTINATIONS")(objects) for part in ("streams", "operator")],
        ["archive=s3://a/p,bank=s3://b"] * 2,
    ),
    case(
        "exports.tenantBytes",
        1_000_000_000,
        lambda objects: [variable(part, "LEDGERX_EXPORTS_TENANT_BYTES")(objects) for part in ("api", "operator")],
        ["1000000000"] * 2,
    ),
    case("exports.s3.bucket", "c", variable("streams", "LEDGERX_EXPORTS_URL"), "s3://c", **S3),
    case("exports.s3.prefix", "p/q", variable("api", "LEDGERX_EXPORTS_URL"), "s3://b/p/q", **S3),
    case("exports.s3.region", "eu", variable("streams", "AWS_REGION"), **S3),
    case("exports.s3.endpoint", "http://minio:9000", variable("api", "AWS_ENDPOINT_URL"), **S3),
    case("exports.s3.allowHttp", True, variable("streams", "AWS_ALLOW_HTTP"), "true", **S3),
    case(
        "exports.s3.credentialsSecret",
        "aws",
        variable("api", "AWS_SECRET_ACCESS_KEY"),
        {"secretKeyRef": {"name": "aws", "key": "AWS_SECRET_ACCESS_KEY"}},
        **S3,
    ),
    case(
        "webhooks.enabled",
        False,
        lambda objects: [variable(part, "LEDGERX_SEALING_KEYS")(objects) for part in ("api", "streams")],
        [None, None],
    ),
    case("webhooks.allowPrivate", True, variable("streams", "LEDGERX_WEBHOOKS_ALLOW_PRIVATE"), "true"),
    case("oidc.issuers", ["https://a", "https://b"], variable("api", "LEDGERX_OIDC_ISSUERS"), "https://a,https://b"),
    case("oidc.issuers", ["https://a"], variable("operator", "LEDGERX_OIDC_ISSUERS"), "https://a"),
    case("oidc.networks", ["10.0.0.0/8"], variable("api", "LEDGERX_OIDC_NETWORKS"), "10.0.0.0/8"),
    case("valkey.urlSecret.name", "v", variable("api", "LEDGERX_RATE_LIMIT_URL_FILE"), "/run/ledgerx/valkey/url"),
    case(
        "valkey.urlSecret.key",
        "uri",
        mounted("api", "/run/ledgerx/valkey"),
        {"secret": {"secretName": "v", "defaultMode": 0o440, "items": [{"key": "uri", "path": "url"}]}},
        valkey__urlSecret__name="v",
    ),
    case("api.publicUrl", "https://l.example", variable("operator", "LEDGERX_API_URL")),
    case("api.settings", {"maxBodyBytes": 2_000_000}, variable("api", "LEDGERX_MAX_BODY_BYTES"), "2000000"),
    case("api.autoscaling.enabled", True, at(*HPA, "scaleTargetRef", "name"), "ledgerx-api"),
    case("api.autoscaling.minReplicas", 3, at(*HPA, "minReplicas"), api__autoscaling__enabled=True),
    case("api.autoscaling.maxReplicas", 30, at(*HPA, "maxReplicas"), api__autoscaling__enabled=True),
    case(
        "api.autoscaling.targetCPUUtilizationPercentage",
        50,
        at(*HPA, "metrics", 0, "resource", "target", "averageUtilization"),
        api__autoscaling__enabled=True,
    ),
    case("api.service.type", "LoadBalancer", at("Service", "api", "spec", "type")),
    case("api.service.port", 80, at("Service", "api", "spec", "ports", 0, "port")),
    case("api.service.annotations", {"a": "b"}, at("Service", "api", "metadata", "annotations")),
    case("relay.settings", {"relayMaxBytes": 1_000_000}, variable("relay", "LEDGERX_RELAY_MAX_BYTES"), "1000000"),
    case("streams.settings", {"webhooksTimeoutS": 7.5}, variable("streams", "LEDGERX_WEBHOOKS_TIMEOUT_S"), "7.5"),
    case("streams.autoscaling.enabled", True, at(*SCALED, "scaleTargetRef", "name"), "ledgerx-streams"),
    case("streams.autoscaling.minReplicas", 3, at(*SCALED, "minReplicaCount"), streams__autoscaling__enabled=True),
    case(
        "streams.autoscaling.lagThreshold",
        5_000_000,
        at(*SCALED, "triggers", 0, "metadata", "lagThreshold"),
        "5000000",
        streams__autoscaling__enabled=True,
    ),
    case("streams.autoscaling.pollingInterval", 7, at(*SCALED, "pollingInterval"), streams__autoscaling__enabled=True),
    case(
        "streams.autoscaling.authenticationRef",
        "kafka",
        at(*SCALED, "triggers", 0, "authenticationRef", "name"),
        streams__autoscaling__enabled=True,
    ),
    case("operator.enabled", False, name_of("Deployment"), ["ledgerx-api", "ledgerx-relay", "ledgerx-streams"]),
    case("operator.watchNamespaces", ["a", "b"], variable("operator", "LEDGERX_WATCH_NAMESPACES"), "a,b"),
    case("operator.settings", {"leaseDurationS": 30}, variable("operator", "LEDGERX_LEASE_DURATION_S"), "30"),
    case(
        "operator.serviceAccount.annotations", {"a": "b"}, at("ServiceAccount", "operator", "metadata", "annotations")
    ),
    case("migrate.adminSecret.name", "admin", there("Job", "migrate-0-1-0"), True, **OFF),
    case(
        "migrate.adminSecret.key",
        "url",
        at("Job", "migrate-0-1-0", "spec", "template", "spec", "containers", 0, "env", 0, "value"),
        "/run/ledgerx/admin/url",
        **OFF,
        migrate__adminSecret__name="admin",
    ),
    case("demo.enabled", True, name_of("StatefulSet"), ["ledgerx-demo"]),
    demo_case("demo.image.repository", "r.example/demo", container("demo", "image"), "r.example/demo:0.1.0"),
    demo_case("demo.image.tag", "2.0", container("operator", "image"), "ledgerx-demo:2.0"),
    demo_case("demo.image.digest", f"sha256:{'a' * 64}", container("demo", "image"), f"ledgerx-demo@sha256:{'a' * 64}"),
    demo_case("demo.persistence.enabled", False, mounted("demo", "/var/lib/ledgerx"), {"emptyDir": {}}),
    demo_case(
        "demo.persistence.existingClaim",
        "mine",
        mounted("demo", "/var/lib/ledgerx"),
        {"persistentVolumeClaim": {"claimName": "mine"}},
    ),
    demo_case(
        "demo.persistence.size",
        "1Gi",
        at("StatefulSet", "demo", "spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage"),
    ),
    demo_case(
        "demo.persistence.storageClassName",
        "fast",
        at("StatefulSet", "demo", "spec", "volumeClaimTemplates", 0, "spec", "storageClassName"),
    ),
    case("cnpg.enabled", True, there("Cluster", "postgres"), True),
    case("cnpg.instances", 5, at(*CLUSTER, "instances"), **CNPG),
    case("cnpg.imageName", "r.example/postgresql:18", at(*CLUSTER, "imageName"), **CNPG),
    case("cnpg.storage.size", "1Ti", at(*CLUSTER, "storage", "size"), **CNPG),
    case("cnpg.storage.storageClassName", "fast", at(*CLUSTER, "storage", "storageClass"), **CNPG),
    case(
        "cnpg.parameters",
        {"max_slot_wal_keep_size": "1GB"},
        at(*CLUSTER, "postgresql", "parameters", "max_slot_wal_keep_size"),
        "1GB",
        **CNPG,
    ),
    case("cnpg.resources", {"limits": {"cpu": 2}}, at(*CLUSTER, "resources"), **CNPG),
    case("cnpg.backup", {"retentionPolicy": "30d"}, at(*CLUSTER, "backup"), **CNPG),
    case(
        "strimzi.enabled", True, variable("streams", "LEDGERX_KAFKA"), "ledgerx-kafka-kafka-bootstrap.platform.svc:9093"
    ),
    case("strimzi.version", "4.1.0", at(*KAFKA, "version"), **STRIMZI),
    case("strimzi.replicas", 5, at(*POOL, "replicas"), **STRIMZI),
    case("strimzi.storage.size", "1Ti", at(*POOL, "storage", "size"), **STRIMZI),
    case("strimzi.storage.storageClassName", "fast", at(*POOL, "storage", "class"), **STRIMZI),
    case("strimzi.resources", {"limits": {"cpu": 2}}, at(*POOL, "resources"), **STRIMZI),
    case(
        "strimzi.config",
        {"min.insync.replicas": 1},
        at(*KAFKA, "config", "min.insync.replicas"),
        1,
        **STRIMZI,
    ),
    case("strimzi.topics.replicas", 2, of_journal("replicas"), **STRIMZI),
    case("strimzi.topics.config", {"retention.ms": 1_000_000_000}, of_journal("config"), **STRIMZI),
    case("ingress.enabled", True, there("Ingress", ""), True, ingress__hosts=["a.example"]),
    case("ingress.className", "nginx", at("Ingress", "", "spec", "ingressClassName"), **INGRESS),
    case("ingress.annotations", {"a": "b"}, at("Ingress", "", "metadata", "annotations"), **INGRESS),
    case("ingress.hosts", ["b.example"], at("Ingress", "", "spec", "rules", 0, "host"), "b.example", **INGRESS),
    case("ingress.tls", [{"secretName": "t"}], at("Ingress", "", "spec", "tls"), **INGRESS),
    case("httpRoute.enabled", True, there("HTTPRoute", ""), True),
    case("httpRoute.annotations", {"a": "b"}, at("HTTPRoute", "", "metadata", "annotations"), **ROUTE),
    case("httpRoute.parentRefs", [{"name": "other"}], at("HTTPRoute", "", "spec", "parentRefs"), **ROUTE),
    case("httpRoute.hostnames", ["a.example"], at("HTTPRoute", "", "spec", "hostnames"), **ROUTE),
    case("networkPolicy.enabled", True, name_of("NetworkPolicy"), [f"ledgerx-{part}" for part in sorted(DEPLOYED)]),
    case(
        "networkPolicy.apiFrom",
        [{"podSelector": {}}],
        at("NetworkPolicy", "api", "spec", "ingress", 1, "from"),
        **POLICY,
    ),
    case(
        "networkPolicy.metricsFrom",
        [{"podSelector": {}}],
        at("NetworkPolicy", "relay", "spec", "ingress", 0, "from"),
        **POLICY,
    ),
    case(
        "networkPolicy.egress",
        {"relay": [{"ports": [{"port": 5432}]}]},
        at("NetworkPolicy", "relay", "spec", "egress", 1, "ports", 0, "port"),
        5432,
        **POLICY,
    ),
    case("metrics.monitor", "PodMonitor", there("PodMonitor", ""), True),
    case("metrics.monitor", "ServiceMonitor", at("Service", "metrics", "spec", "ports", 0, "name"), "management"),
    case("metrics.interval", "10s", at("PodMonitor", "", "spec", "podMetricsEndpoints", 0, "interval"), **MONITOR),
    case("metrics.labels", {"a": "b"}, at("PodMonitor", "", "metadata", "labels", "a"), "b", **MONITOR),
    case("alerts.enabled", True, there("PrometheusRule", ""), True),
    case("alerts.labels", {"a": "b"}, at("PrometheusRule", "", "metadata", "labels", "a"), "b", **ALERTS),
    case("alerts.disabled", [FIRST], at(*RULES, 0, "alert"), SECOND, **ALERTS),
    case(
        "alerts.runbookBaseUrl",
        "https://d.example",
        at(*RULES, 0, "annotations", "runbook_url"),
        f"https://d.example/{FIRST}.md",
        **ALERTS,
    ),
    case("dashboards.enabled", True, there("ConfigMap", "dashboard-api"), True),
    case("dashboards.labels", {"a": "b"}, at(*DASHBOARD, "labels", "a"), "b", **DASHBOARDS),
    case("dashboards.annotations", {"a": "b"}, at(*DASHBOARD, "annotations"), **DASHBOARDS),
    case("rbac.aggregate", False, name_of("ClusterRole"), ["platform-ledgerx-operator"]),
    case("tests.tenantSecret", "shop-ledger", there("Pod", "test"), True),
    case(
        "extraObjects",
        ["{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-more'}}"],
        there("ConfigMap", "more"),
        True,
    ),
    case(
        "extraObjects",
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ledgerx-more"}}],
        there("ConfigMap", "more"),
        True,
    ),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.path)
def test_a_value_changes_what_it_should(one: Case) -> None:
    before = one.look(render(one.given))
    after = one.look(render(with_value(one.given, one.path, one.value)))
    assert after == one.expected
    assert before != one.expected


def test_every_value_has_a_case() -> None:
    assert {value.path for value in documented_values()} == {one.path for one in CASES}


def test_every_value_is_documented() -> None:
    documented = {value.path for value in documented_values()}
    assert _undocumented(yaml.safe_load((CHART / "values.yaml").read_text()), documented) == []


def _undocumented(values: Values, documented: set[str], prefix: str = "") -> list[str]:
    """The paths of values that are not documented, and of no map that is."""
    found = []
    for key, value in values.items():
        path = f"{prefix}{key}"
        if path in documented:
            continue
        found += _undocumented(value, documented, f"{path}.") if isinstance(value, dict) and value else [path]
    return found
