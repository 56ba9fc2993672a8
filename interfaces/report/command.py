"""The one command that makes the same sweep again."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from domain.sweeps import SweepConfig, SweepStarted


def command_of(started: SweepStarted) -> str:
    """A command line with every option that decides the sweep's numbers."""
    config, source = started.config, started.source
    words = ["study", "sweep", "run"]
    words += [source.dataset_name] if source.dataset_name and not source.vectors_id else ["--vectors", "VECTORS.npy"]
    if source.vectors_id and source.texts_sha256:
        words += ["--texts", "TEXTS.csv"]
    if source.vectors_id and source.labels_sha256:
        words += ["--labels", "LABELS.csv"]
    if source.embedding_provider and source.embedding_model and not source.vectors_id:
        words += ["--provider", source.embedding_provider, "--model", source.embedding_model]
    if source.embedding_dimensions and not source.vectors_id:
        words += ["--dimensions", str(source.embedding_dimensions)]
    words += ["--method", config.method]
    if config.k_values:
        words += ["--k-min", str(config.k_values[0]), "--k-max", str(config.k_values[-1])]
    words += ["--restarts", str(config.restarts), "--max-iter", str(config.max_iterations)]
    words += ["--pca-dim", str(config.pca_dim or 0), *_preparation(config), "--seed", str(config.seed)]
    words += ["--coverage-threshold", str(config.coverage_threshold)]
    words += _pairs("--param", config.parameters)
    words += ["--choose-by", config.choose_by, *_pairs("--choose-param", config.choose_parameters)]
    for rule in config.also_measured:
        words += ["--also-measure", rule]
    if config.view:
        words += ["--view", config.view]
    if config.summarise and not config.summarise.startswith("python:"):  # a function can't be named there
        words += ["--summarise", config.summarise]
    if config.name_every_k:
        words.append("--name-every-k")
    return shlex.join(words)


def unsaid(started: SweepStarted) -> tuple[str, ...]:
    """What the command can't say, so that another sweep comes of it."""
    config, source = started.config, started.source
    k_values = config.k_values
    told = []
    if k_values and k_values != tuple(range(k_values[0], k_values[-1] + 1)):
        swept = ", ".join(map(str, k_values))
        told.append(
            f"Only K = {swept} were swept, which Python can ask for, with k=[{swept}]. "
            f"The command sweeps every K from {k_values[0]} to {k_values[-1]}, which is another sweep."
        )
    if started.salt is not None:
        told.append(
            "This sweep was forced, beside another of the same data and options. The command finds that one, "
            "and with --force makes one more; the numbers are the same."
        )
    if source.vectors_id:
        told.append("The vectors were made elsewhere: the command names files that hold them and what belongs to them.")
    if config.summarise and config.summarise.startswith("python:"):
        told.append(f"The clusters were named by a function of Python, {config.summarise.removeprefix('python:')}.")
    return tuple(told)


def _preparation(config: SweepConfig) -> list[str]:
    asked = config.prepared
    words = [] if asked.unit_norm else ["--no-unit-norm"]
    if asked.centre is not None:
        words.append("--centre" if asked.centre else "--no-centre")
    return [*words, "--unit-norm-after"] if asked.unit_norm_after else words


def _pairs(option: str, values: Mapping[str, Any]) -> list[str]:
    """Each as NAME=VALUE; a text that would be read as JSON is written as JSON."""
    return [word for name, value in values.items() for word in (option, f"{name}={_written(value)}")]


def _written(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)
