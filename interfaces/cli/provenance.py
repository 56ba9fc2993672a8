"""Where things came from, and what was made of them."""

import re
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_a_moment, study_command
from interfaces.cli.terminal import visible

if TYPE_CHECKING:
    from rich.tree import Tree

    from interfaces.study import Study

REQUEST_HASH = re.compile(r"[0-9a-f]{64}")
SAID = ("preview", "sha256", "sha256_ok")
Json = dict[str, Any]


def add_to(study: click.Group) -> None:
    """Add the command."""
    study_command(
        study,
        "provenance",
        examples="study provenance cluster SWEEP_ID/0\n"
        "study provenance call CALL_ID --direction down\n"
        "study provenance model openai/gpt-4o-mini --direction down\n"
        'study provenance text "a train to Rome" --provider local --direction down\n'
        "study provenance sweep SWEEP_ID --direction both --format prov-json > sweep.provn.json",
    )(provenance)


@click.argument("kind", metavar="KIND")
@click.argument("thing_id", metavar="ID")
@click.option(
    "--direction",
    type=click.Choice(["up", "down", "both"]),
    default="up",
    show_default=True,
    help="up: what it came from; down: what was made of it.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "json", "prov-json"]),
    default="tree",
    show_default=True,
    help="prov-json: a W3C PROV-JSON document.",
)
@click.option("--depth", type=int, default=10, show_default=True, help="At most so many steps from the thing.")
@click.option("--few", type=int, default=5, show_default=True, help="Things shown on each way; more are counted.")
@click.option("--verify", is_flag=True, help="Hash the bytes, and say whether they are what was recorded.")
@click.option("--provider", help="Of a text in words: who embedded it.")
@click.option("--model", help="Of a text in words: the model that embedded it.")
@click.option("--dimensions", type=int, help="Of a text in words: the dimensions that were asked for.")
@as_of_a_moment
def provenance(
    invocation: Invocation,
    kind: str,
    thing_id: str,
    direction: Any,
    form: str,
    provider: str | None,
    model: str | None,
    dimensions: int | None,
    verify: bool,
    **bounds: Any,
) -> None:
    """Walk to where a thing came from, down to the provider's bytes, or to what was made of it.

    \b
    KIND and ID are:
      cluster    SWEEP_ID/K/CLUSTER, or SWEEP_ID/CLUSTER for the chosen K
      step       SWEEP_ID/K
      sweep, artifact, dataset, vectors, group, call, conversation    their id
      embedding  CALL_ID/INDEX
      text       the text itself, or its request_hash
      attempt    CALL_ID/VERSION
      bytes      CALL_ID/VERSION/PART
      model      PROVIDER/MODEL
    """

    from domain.errors import NotFound

    async def work(study: "Study") -> Json:
        asked = thing_id
        if kind == "text" and not REQUEST_HASH.fullmatch(thing_id):
            asked = _hash_of(study, thing_id, provider, model, dimensions)
        try:
            if form == "prov-json":
                return await study.provenance.prov_json(kind, asked, direction=direction, **bounds)
            return await study.provenance.of(kind, asked, direction=direction, verify=verify, **bounds)
        except NotFound as error:
            if asked == thing_id:
                raise
            raise NotFound(
                f"Nobody embedded {thing_id[:60]!r} like this ({error}); a text is found by the words, --provider, "
                "--model and --dimensions that it was embedded with"
            ) from None

    found = invocation.run(work)
    invocation.answer(found, (lambda console: console.print(_tree(found))) if form == "tree" else None)
    if form == "tree" and not invocation.as_json:
        _tell_how_to_read_bytes(found)


def _hash_of(study: "Study", text: str, provider: str | None, model: str | None, dimensions: int | None) -> str:
    from application.embed_texts import TextsToEmbed

    wanted = TextsToEmbed(texts=(text,), provider=provider, model=model, dimensions=dimensions)
    return study.embeddings.request_hashes(wanted)[0]


def _tell_how_to_read_bytes(found: Json) -> None:
    """On stderr, the command that writes the first bytes of a walk; the others' ids are read alike."""
    body = next((node["id"] for node in found["nodes"] if node["kind"] == "bytes" and node["found"]), None)
    if body is not None:
        call_id, version, part = body.split("/")
        click.echo(f"Exact bytes: study call {call_id} --version {version} --bytes {part}", err=True)


def _tree(found: Json) -> "Tree":
    """Nodes under the links that lead to them; one that stands there already is only named again."""
    from rich.text import Text
    from rich.tree import Tree

    nodes = {(node["kind"], node["id"]): node for node in found["nodes"]}
    shown: set[tuple[str, str]] = set()

    def grow(branch: Tree, reference: Json) -> None:
        shown.add((reference["kind"], reference["id"]))
        for link in nodes[reference["kind"], reference["id"]]["links"] or ():
            for item in link["items"]:
                place = (item["kind"], item["id"])
                node = nodes.get(place)
                name = Text.assemble((f"{link['relation']} ", "dim"), _line(item, node))
                if place in shown or node is None:
                    branch.add(Text.assemble(name, (" (see above)" if place in shown else " …", "dim")))
                else:
                    grow(branch.add(name), item)
            if link["all"] is not None:
                at_least = "" if link["counted_all"] else "more than "
                branch.add(Text(f"… {at_least}{link['count']:,} {link['name'].replace('_', ' ')} in all", "dim"))

    root = found["root"]
    tree = Tree(_line(root, nodes[root["kind"], root["id"]]))
    grow(tree, root)
    if not found["complete"]:
        tree.add(Text("… the walk ended before everything was looked at; see --depth", "dim"))
    return tree


def _line(reference: Json, node: Json | None) -> Any:
    from rich.text import Text

    from interfaces.cli.tables import short

    label = "" if node is None else node["label"]
    if node is not None and not node["found"]:
        label = "(not recorded)"
    facts = {} if node is None else node["facts"]
    said = "".join(f" {name} {short(str(facts[name]), 64)}" for name in SAID if name in facts)
    return Text.assemble(
        (f"{reference['kind']} ", "bold"), visible(label), visible(said), (f"  {visible(reference['id'])}", "dim")
    )
