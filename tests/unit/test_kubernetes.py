"""deploy/kubernetes and deploy/kuberay: valid by Kubernetes' own schema, and what we ask of them beyond that."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from services.core.settings import Settings
from services.serve.environment import HelperPorts, ray_environment

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
RAY_SERVICE = ROOT / "deploy" / "kuberay" / "rayservice.yaml"
DATA = ROOT / "tests" / "data"
SPEC = Resource.from_contents(json.loads((DATA / "kubernetes-spec" / "schema.json").read_text()))
REGISTRY = Registry().with_resource("kubernetes", SPEC)
KINDS = {
    "Deployment": "apps.v1",
    "Job": "batch.v1",
    "Service": "core.v1",
    "ConfigMap": "core.v1",
    "Namespace": "core.v1",
    "ServiceAccount": "core.v1",
    "PodDisruptionBudget": "policy.v1",
    "HorizontalPodAutoscaler": "autoscaling.v2",
    "NetworkPolicy": "networking.v1",
}
QUEUES = ("gpu", "cpu", "live", "io")
SECRETS = ("PORTRAIT_DATABASE_URL", "PORTRAIT_REDIS_URL", "PORTRAIT_BROKER_URL", "PORTRAIT_API_KEYS")

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


MANIFESTS = [d for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "kustomization" for d in documents(path)]
SERVICE = documents(RAY_SERVICE)[0]


def errors(document: Document) -> list[str]:
    """What a Kubernetes API server would refuse."""
    if document["kind"] == "RayService":
        schema = json.loads((DATA / "kuberay" / "rayservice.json").read_text())
    else:
        schema = {"$ref": f"kubernetes#/$defs/io.k8s.api.{KINDS[document['kind']]}.{document['kind']}"}
    return [error.message for error in Draft202012Validator(schema, registry=REGISTRY).iter_errors(document)]


def named(kind: str) -> dict[str, Document]:
    return {d["metadata"]["name"]: d for d in MANIFESTS if d["kind"] == kind}


def pods() -> dict[str, Document]:
    """Pod specifications by what they are of."""
    found = {name: d["spec"]["template"] for kind in ("Deployment", "Job") for name, d in named(kind).items()}
    cluster = SERVICE["spec"]["rayClusterConfig"]
    return found | {"ray-head": cluster["headGroupSpec"]["template"]} | {
        f"ray-{group['groupName']}": group["template"] for group in cluster["workerGroupSpecs"]
    }  # fmt: skip


def serve_config() -> Document:
    return yaml.safe_load(SERVICE["spec"]["serveConfigV2"])


def containers(pod: Document) -> list[Document]:
    return pod["spec"]["containers"] + pod["spec"].get("initContainers", [])


@pytest.mark.parametrize(
    "document", [*MANIFESTS, *documents(RAY_SERVICE)], ids=lambda d: f"{d['kind']}-{d['metadata']['name']}"
)
def test_the_document_follows_its_schema(document: Document) -> None:
    assert errors(document) == []


def test_the_schema_check_would_notice_a_misspelt_key() -> None:
    gateway = json.loads(json.dumps(named("Deployment")["gateway"]))
    gateway["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    service = json.loads(json.dumps(SERVICE))
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["container"] = []
    assert len(errors(gateway)) == 1 and len(errors(service)) == 1


def test_the_list_of_resources_is_complete() -> None:
    listed = documents(FOLDER / "kustomization.yaml")[0]["resources"]
    assert sorted(listed) == sorted(p.name for p in FOLDER.glob("*.yaml") if p.stem != "kustomization")


def test_every_part_is_there_and_every_queue_has_workers() -> None:
    deployments = named("Deployment")
    assert set(deployments) == {"gateway", "beat", *(f"worker-{queue}" for queue in QUEUES)}
    assert set(named("Job")) == {"migrations"}
    for queue in QUEUES:
        command = containers(deployments[f"worker-{queue}"]["spec"]["template"])[0]["command"]
        assert command[command.index("-Q") + 1] == queue


def test_whatever_runs_for_good_has_probes_a_disruption_budget_and_a_selector_that_finds_it() -> None:
    budgets = named("PodDisruptionBudget")
    for name, deployment in named("Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        for selector in (deployment["spec"]["selector"], budgets[name]["spec"]["selector"]):
            assert selector["matchLabels"].items() <= labels, name
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name


def test_everything_but_the_clock_scales() -> None:
    scaled = {d["spec"]["scaleTargetRef"]["name"]: d["spec"] for d in named("HorizontalPodAutoscaler").values()}
    assert set(scaled) == set(named("Deployment")) - {"beat"}
    assert all(spec["minReplicas"] < spec["maxReplicas"] for spec in scaled.values())
    assert named("Deployment")["beat"]["spec"]["replicas"] == 1


@pytest.mark.parametrize("name", sorted(pods()))
def test_pods_run_without_privileges_within_limits(name: str) -> None:
    pod = pods()[name]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    beside = [SERVICE["spec"]["rayClusterConfig"]["autoscalerOptions"]] if name == "ray-head" else []
    for container in containers(pod) + beside:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"] and {"cpu", "memory"} <= set(
            container["resources"]["requests"]
        )


@pytest.mark.parametrize("name", sorted(pods()))
def test_secrets_come_by_reference_only(name: str) -> None:
    for container in containers(pods()[name]):
        assert {"secretRef": {"name": "portrait-secrets"}} in container["envFrom"]
        assert not {variable["name"] for variable in container.get("env", [])} & set(SECRETS)


def test_no_file_holds_a_secret() -> None:
    assert not any(d["kind"] == "Secret" for d in MANIFESTS)
    for data in (d["data"] for d in named("ConfigMap").values()):
        assert not set(data) & set(SECRETS)
        assert not any(re.search(r"://[^/]*@", value) for value in data.values())


def test_nothing_enters_or_leaves_that_no_policy_lets() -> None:
    policies = named("NetworkPolicy")
    assert policies["closed"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    entered = {name for name, policy in policies.items() if policy["spec"].get("ingress")}
    assert entered == {"requests", "ray"}
    private = policies["pictures"]["spec"]["egress"][0]["to"][0]["ipBlock"]["except"]
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(private)


def test_the_autoscaler_reaches_the_api_server() -> None:
    (rule,) = named("NetworkPolicy")["autoscaler"]["spec"]["egress"]
    assert "to" not in rule and {port["port"] for port in rule["ports"]} == {443, 6443}
    assert named("NetworkPolicy")["autoscaler"]["spec"]["podSelector"]["matchLabels"] == {"ray.io/node-type": "head"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name, ready", [("ray-head", "/api/healthz"), ("ray-gateways", "/-/healthz")])
def test_the_kubelet_asks_rays_nodes_itself(name: str, ready: str) -> None:
    """Pods without probes get some from KubeRay that run wget, which the image lacks."""
    from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT

    asks = {"/api/healthz": DEFAULT_DASHBOARD_AGENT_LISTEN_PORT, "/-/healthz": serve_config()["http_options"]["port"]}
    (container,) = containers(pods()[name])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    paths = {}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        paths[kind] = container[kind]["httpGet"]["path"]
        assert ports[container[kind]["httpGet"]["port"]] == asks[paths[kind]], kind
    assert paths == {"startupProbe": "/api/healthz", "livenessProbe": "/api/healthz", "readinessProbe": ready}


def test_every_portrait_variable_is_a_setting_or_asks_for_the_ready_file() -> None:
    known = {f"PORTRAIT_{name}".upper() for name in Settings.model_fields} | {"PORTRAIT_READY_FILE"}
    used = {variable for d in named("ConfigMap").values() for variable in d["data"]}
    used |= {v["name"] for pod in pods().values() for c in containers(pod) for v in c.get("env", [])}
    assert {variable for variable in [*used, *SECRETS] if variable.startswith("PORTRAIT_")} <= known


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_serve_configuration_is_one_that_ray_takes() -> None:
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(serve_config())
    (application,) = config.applications
    module, _, name = application.import_path.partition(":")
    ingress = getattr(import_module(module), name)._bound_deployment
    behind = [bound._bound_deployment.name for bound in ingress.init_args]
    assert [d.name for d in application.deployments] == [ingress.name, *behind]


def test_kuberay_finds_the_port_of_its_service() -> None:
    """It makes none where the head's container has no port of this name."""
    (head,) = containers(pods()["ray-head"])
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert ports["serve"] == serve_config()["http_options"]["port"]


def test_nodes_of_a_cluster_run_serve_as_one_machine_does(tmp_path: Path) -> None:
    own = ray_environment(tmp_path, tmp_path / "haproxy", HelperPorts(1, 2))
    for name in ("ray-head", "ray-gateways"):
        env = {v["name"]: v["value"] for v in containers(pods()[name])[0]["env"] if v["name"].startswith("RAY_")}
        env.pop("RAY_SERVE_HAPROXY_BINARY_PATH")
        assert env.items() <= own.items()
