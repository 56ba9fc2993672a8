"""Image, compose file and systemd unit fit the program; `execute_dockerfile.py` builds the image without an engine."""

import configparser
import tomllib

import yaml

from infrastructure.settings import Settings
from tests.image.dockerfile import ROOT, stages, variables, words
from tests.support.documents import refused

BUILD, FINAL = stages((ROOT / "Dockerfile").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_build_copies_what_the_wheel_is_made_of_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {source for each in BUILD if each.word == "COPY" for source in each.rest.split()[:-1]}
    assert copied == {*packages, "pyproject.toml", "README.md", "requirements.lock"}
    assert all((ROOT / source).exists() for source in copied)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == copied


def test_the_final_stage_installs_nothing_and_is_not_roots() -> None:
    run = [each.rest for each in FINAL if each.word == "RUN"]
    assert run == ["useradd --uid 10001 --create-home --home-dir /data --shell /usr/sbin/nologin study"]
    assert next(each.rest for each in FINAL if each.word == "USER") == "study"


def test_what_the_image_runs_is_a_command_of_ours() -> None:
    assert words(FINAL, "ENTRYPOINT") == ["study"]
    assert refused(words(FINAL, "CMD")) is None
    compile(words(FINAL, "HEALTHCHECK")[2], "the health check", "exec")


def test_what_the_image_sets_are_settings_and_its_data_lie_in_the_volume() -> None:
    known = {name.upper() for name in Settings.model_fields}
    set_here = variables(FINAL)
    others = {"PATH", "NUMBA_CACHE_DIR", "PYTHONUNBUFFERED"}
    assert {*set_here} - others <= known
    assert set_here["STUDY_HOME"] == next(each.rest for each in FINAL if each.word == "VOLUME") == "/data"
    assert set_here["PANEL_PORT"] == next(each.rest for each in FINAL if each.word == "EXPOSE") == "5006"


def test_the_compose_file_fits_the_image() -> None:
    app, postgres = COMPOSE["services"]["app"], COMPOSE["services"]["postgres"]
    assert app["ports"] == ["127.0.0.1:5006:5006"]
    assert app["volumes"] == ["study:/data", f"./secrets:{Settings.model_fields['study_secrets'].default}:ro"]
    assert postgres["profiles"] == ["postgres"]
    assert set(COMPOSE["volumes"]) == {"study", "postgres"}
    drain_seconds = Settings.model_fields["study_drain_s"].default
    assert int(app["stop_grace_period"].removesuffix("s")) >= drain_seconds + 20


def test_the_unit_of_systemd_runs_a_command_of_ours_and_gives_it_time_to_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read(ROOT / "packaging" / "study.service")
    service = unit["Service"]
    program, *command = service["ExecStart"].split()
    assert (program, refused(command)) == ("/opt/study/bin/study", None)
    assert f"STUDY_HOME=/var/lib/{service['StateDirectory']}" in service["Environment"].split()
    assert f"NUMBA_CACHE_DIR=/var/cache/{service['CacheDirectory']}" in service["Environment"].split()
    assert int(service["TimeoutStopSec"]) >= Settings.model_fields["study_drain_s"].default + 20
