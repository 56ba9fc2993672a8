"""The one command that makes the same sweep again."""

import shlex

from domain.sweeps import SweepStarted


def command_of(started: SweepStarted) -> str:
    """A command line with every option that decides the sweep's numbers."""
    config, source = started.config, started.source
    words = ["study", "sweep", "run"]
    words += [source.dataset_name] if source.dataset_name and not source.vectors_id else ["--vectors", "VECTORS.npy"]
    if source.embedding_provider and source.embedding_model:
        words += ["--provider", source.embedding_provider, "--model", source.embedding_model]
    words += ["--method", config.method, "--k-min", str(config.k_values[0]), "--k-max", str(config.k_values[-1])]
    words += ["--restarts", str(config.restarts), "--max-iter", str(config.max_iterations)]
    words += ["--pca-dim", str(config.pca_dim or 0), "--seed", str(config.seed)]
    words += ["--coverage-threshold", str(config.coverage_threshold)]
    if "rank" in config.parameters:
        words += ["--rank", str(config.parameters["rank"])]
    if config.summarise:
        words += ["--summarise", config.summarise]
    return shlex.join(words)
