"""docker-compose.yml: valid by the Compose Specification, and what we ask of it beyond that."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from services.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "tests" / "data" / "compose-spec" / "schema.json").read_text())
FILES = ("docker-compose.yml", "deploy/compose.gpu.yml")
SECRETS = ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "PORTRAIT_API_KEYS")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return load("docker-compose.yml")["services"]


def is_one_shot(service: dict[str, Any]) -> bool:
    return service.get("restart") == "no"


@pytest.mark.parametrize("name", FILES)
def test_the_file_follows_the_compose_specification(name: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(load(name))


def test_the_schema_check_would_notice_a_misspelt_key() -> None:
    broken = load("docker-compose.yml")
    broken["services"]["gateway"]["healthchek"] = {}
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(broken)


def test_every_part_of_the_production_shape_is_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {
        "postgres",
        "valkey",
        "mlflow",
        "migrations",
        "features",
        "gateway",
        "worker-gpu",
        "worker-cpu",
        "worker-live",
        "worker-io",
        "beat",
    }
    assert "pgvector" in services["postgres"]["image"]
    for queue in ("gpu", "cpu", "live", "io"):
        command = services[f"worker-{queue}"]["command"]
        assert command[command.index("-Q") + 1] == queue


def test_every_lasting_service_has_a_health_check_and_restarts(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if is_one_shot(service):
            continue
        assert service["restart"] == "unless-stopped", name
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL"), name
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name


def test_every_service_is_limited_in_cpu_memory_and_log(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name
        assert "max-size" in service["logging"]["options"], name


def test_workers_that_hold_whole_catalogues_have_one_child(services: dict[str, dict[str, Any]]) -> None:
    command = services["worker-gpu"]["command"]
    assert command[command.index("--concurrency") + 1] == "1"
    assert "--concurrency" not in services["worker-cpu"]["command"], "unless PORTRAIT_CPU_PROCESSES says more"
    assert Settings.model_fields["cpu_processes"].default == 1


def test_every_secret_must_be_given_and_none_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for secret in SECRETS:
        uses = re.findall(rf"\$\{{{secret}([^}}]*)}}", text)
        assert uses and all(use.startswith(":?") for use in uses), secret
    example = (ROOT / "deploy" / "env.example").read_text().splitlines()
    assert all(f"{secret}=" in example for secret in SECRETS)


def test_no_variable_that_names_a_secret_has_a_literal_value(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|TOKEN|_URL$", variable):
                assert value is None or re.search(r"\$\{\w+:\?", str(value)), f"{name}: {variable}"


def test_only_the_gateway_publishes_a_port_and_to_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"gateway": ["${PORTRAIT_PUBLISH_ADDRESS:-127.0.0.1}:${PORTRAIT_PUBLISH_PORT:-8000}:8000"]}


def test_databases_have_no_way_out(services: dict[str, dict[str, Any]]) -> None:
    assert load("docker-compose.yml")["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "valkey", "mlflow"):
        assert services[name]["networks"] == ["inside"], name


def test_every_volume_that_is_mounted_is_declared(services: dict[str, dict[str, Any]]) -> None:
    mounted = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert mounted == set(load("docker-compose.yml")["volumes"])
    assert "home:/var/lib/portrait" in services["gateway"]["volumes"]


def test_images_are_pinned_and_portrait_runs_without_privileges(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
        else:
            assert re.search(r":\d+\.\d+", service["image"]), name
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    for target in ("cpu", "cuda", "mlflow"):
        stage = re.search(rf"AS {target}\n(.*?)(?=\nFROM |\Z)", dockerfile, re.DOTALL)
        assert stage and re.search(r"^USER (?!root)", stage[1], re.MULTILINE), target


def test_services_start_after_the_schema_and_the_features(services: dict[str, dict[str, Any]]) -> None:
    done = {"condition": "service_completed_successfully"}
    assert services["features"]["depends_on"]["migrations"] == done
    for name in ("gateway", "worker-gpu", "worker-cpu", "worker-live", "worker-io", "beat"):
        assert services[name]["depends_on"]["features"] == done, name


def test_every_portrait_variable_is_a_setting(services: dict[str, dict[str, Any]]) -> None:
    known = {f"PORTRAIT_{name}".upper() for name in Settings.model_fields}
    used = {variable for service in services.values() for variable in service.get("environment", {})}
    assert {variable for variable in used if variable.startswith("PORTRAIT_")} <= known


def test_every_setting_can_stand_in_the_env_file(services: dict[str, dict[str, Any]]) -> None:
    assert {f"PORTRAIT_{name}".upper() for name in Settings.model_fields} <= services["gateway"]["environment"].keys()


def test_the_gateways_settings_are_accepted(services: dict[str, dict[str, Any]]) -> None:
    environment = {name: value for name, value in services["gateway"]["environment"].items() if value is not None}
    filled = {name: re.sub(r"\$\{\w+:\?[^}]*}", "given", value) for name, value in environment.items()}
    filled = {name: re.sub(r"\$\{\w+:-([^}]*)}", r"\1", value) for name, value in filled.items()}
    values = {name.removeprefix("PORTRAIT_").lower(): value for name, value in filled.items()}
    settings = Settings(**{name: value for name, value in values.items() if name in Settings.model_fields})
    assert settings.bind == "0.0.0.0" and settings.keys
