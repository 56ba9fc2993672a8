"""Reading a Dockerfile, as far as ours goes."""

import json
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    """A word such as RUN, and what follows it."""

    word: str
    rest: str


def stages(text: str) -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first; ARGs before the first stage are put in."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    instructions = [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]
    defaults = dict(each.rest.split("=", 1) for each in instructions if each.word == "ARG")
    found: list[list[Instruction]] = []
    for each in instructions:
        if each.word == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(each.word, re.sub(r"\$\{(\w+)\}", lambda m: defaults[m[1]], each.rest)))
    return found


def variables(stage: list[Instruction]) -> dict[str, str]:
    """What ENV sets."""
    pairs = (pair for each in stage if each.word == "ENV" for pair in each.rest.split())
    return dict(pair.split("=", 1) for pair in pairs)


def words(stage: list[Instruction], word: str) -> list[str]:
    """The list that ENTRYPOINT, CMD or HEALTHCHECK's CMD has."""
    rest = next(each.rest for each in stage if each.word == word)
    found: list[str] = json.loads(rest[rest.index("[") :])
    return found
