"""The chart as `helm template` renders it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/ledgerx"
HELM = Path(sys.executable).with_name("helm")
PROFILES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
RELEASE = "ledgerx"
NAMESPACE = "platform"

Values: TypeAlias = dict[str, Any]
Look: TypeAlias = Callable[[list[Any]], Any]


class RefusedError(Exception):
    """Helm does not take the values; says why."""


def profile(name: str) -> Values:
    """The values of charts/ledgerx/ci/`name`-values.yaml."""
    values: Values = yaml.safe_load(PROFILES[name].read_text(encoding="utf-8"))
    return values


def with_value(values: Values, path: str, value: Any) -> Values:
    """The values with one more, whose keys `path` has with dots between them."""
    changed = deepcopy(values)
    *parents, last = path.split(".")
    found = changed
    for key in parents:
        found = found.setdefault(key, {})
    found[last] = value
    return changed


def render(values: Values) -> list[Any]:
    """The objects of a release with these values. Raises `RefusedError`."""
    return _render(json.dumps(values))


@cache
def _render(values: str) -> list[Any]:
    command: list[str | Path] = [HELM, "template", RELEASE, CHART, "--namespace", NAMESPACE, "--values", "-"]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(done.stderr)
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def find(objects: list[Any], kind: str, name: str) -> Any:
    """An object; None where there is none."""
    return next((one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)), None)


def dig(value: Any, *path: str | int) -> Any:
    """What is at the end of `path`: keys of maps, indexes of lists; None where there is nothing."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def pod_specs(objects: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and name of each object that has pods, and their spec."""
    for one in objects:
        spec = one["spec"] if one["kind"] == "Pod" else dig(one, "spec", "template", "spec")
        if spec is not None and "containers" in spec:
            yield f"{one['kind']}/{one['metadata']['name']}", spec


def configuration(objects: list[Any]) -> Any:
    """What the operator is configured with."""
    return yaml.safe_load(find(objects, "ConfigMap", f"{RELEASE}-operator")["data"]["configuration.yaml"])


# What a test looks at.


def at(kind: str, name: str, *path: str | int) -> Look:
    """A place in an object, whose `name` is without the release's."""
    full_name = f"{RELEASE}-{name}" if name else RELEASE
    return lambda objects: dig(find(objects, kind, full_name), *path)


def there(kind: str, name: str) -> Look:
    """Whether there is such an object."""
    return lambda objects: at(kind, name)(objects) is not None


def pods(part: str, *path: str | int) -> Look:
    """A place in the template of a part's pods."""
    return at("StatefulSet" if part == "demo" else "Deployment", part, "spec", "template", *path)


def container(part: str, *path: str | int) -> Look:
    """A place in the container of a part."""
    return pods(part, "spec", "containers", 0, *path)


def variable(part: str, name: str) -> Look:
    """The value of an environment variable of a part, or where it comes from."""

    def look(objects: list[Any]) -> Any:
        found = [one for one in container(part, "env")(objects) or [] if one["name"] == name]
        assert len(found) < 2, f"{name} is set twice"
        return found[0].get("value", found[0].get("valueFrom")) if found else None

    return look


def mounted(part: str, path: str) -> Look:
    """The volume that a part has at `path`, without its name."""

    def look(objects: list[Any]) -> Any:
        names = {one["name"] for one in container(part, "volumeMounts")(objects) or [] if one["mountPath"] == path}
        volumes = [one for one in pods(part, "spec", "volumes")(objects) or [] if one["name"] in names]
        return {key: value for key, value in volumes[0].items() if key != "name"} if volumes else None

    return look


def last(look: Look) -> Look:
    """The last element of a list."""
    return lambda objects: (look(objects) or [None])[-1]
