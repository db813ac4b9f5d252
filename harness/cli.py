"""The command line: parse, resolve the verb, call, print. Nothing heavy is imported before a verb needs it."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.exceptions import TyperException
from typer.main import get_command

from harness.console import PlainConsole, plain
from harness.errors import BadInput, UnreadableEpisode, WorkFailed

INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="espalier",
    help="Compare model families that have nothing in common on the same held-out episodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DatasetArgument = Annotated[
    str, typer.Argument(metavar="DATASET", help="A card name, a card file, a data-set folder or a table.")
]
Options = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options, e.g. windows.stride=10.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with options.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Margins = Annotated[
    list[str] | None, typer.Option("--margin", metavar="METRIC=VALUE", help="Difference that counts as none; may be repeated.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the result.")]


def console(*, error: bool = False) -> Console:
    """A console; as wide as a table needs where the output is no terminal."""
    width = None if (sys.stderr if error else sys.stdout).isatty() else 160
    return PlainConsole(stderr=error, width=width, soft_wrap=width is not None)


@app.command("demo-data")
def demo_data(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    episodes: Annotated[int, typer.Option(help="How many.")] = 8,
    seed: Annotated[int, typer.Option(help="Seeds from 10000 up are reserved for pretraining.")] = 0,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 30.0,
    mute: Annotated[str | None, typer.Option(help="Mechanism to silence; see docs/demo.md.")] = None,
) -> None:
    """Write simulated episodes in the Xperience-10M layout."""
    from harness.demo import write_demo  # noqa: PLC0415

    folders = write_demo(out, episodes, seed, seconds, mute)
    console().print(Text(f"wrote {len(folders)} episodes to {out}"))


@app.command()
def inspect(dataset: DatasetArgument, options: Options = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show modalities, rates, lengths, label counts and what is missing."""
    from harness.inspect import inspect as look  # noqa: PLC0415
    from harness.inspect import print_card, print_inspection  # noqa: PLC0415

    opened, _, _ = _open(dataset, options, config)
    found = look(opened)
    if opened.inferred:
        print_card(opened, console(error=True))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_inspection(found, console())
    if found["quarantined"]:
        raise typer.Exit(3)


@app.command()
def run(
    dataset: DatasetArgument,
    out: Out,
    options: Options = None,
    branch: Annotated[list[str] | None, typer.Option("-b", "--branch", help="Branch; may be repeated.")] = None,
    task: Annotated[list[str] | None, typer.Option("-t", "--task", help="Task; may be repeated.")] = None,
    config: ConfigFile = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; without it a local Ray starts and stops.")] = None,
) -> None:
    """Ingest, fit, predict and score; into an existing folder it does what is missing."""
    from harness.ledger import accesses  # noqa: PLC0415
    from harness.report.terminal import print_leaderboard  # noqa: PLC0415
    from harness.request import Request  # noqa: PLC0415
    from harness.run import run as execute  # noqa: PLC0415

    opened, resolved, passed = _open(dataset, options, config)
    request = Request(opened, resolved, passed, tuple(branch or ()), tuple(task or ()), out, address)
    outcome = execute(request, console(error=True))
    print_leaderboard(outcome.leaderboard, console(), accesses(outcome.leaderboard["split"]["test_hash"]))
    errors = console(error=True)
    for lost in outcome.quarantined:
        errors.print(Text(f"quarantined {lost.episode}: {lost.path}: {lost.reason}", style="red"), soft_wrap=True)
    for line in outcome.failed:
        errors.print(Text(f"failed {line}", style="red"), soft_wrap=True)
    console().print(Text(f"\nwritten to {out}"))
    raise typer.Exit(outcome.exit_code)


@app.command()
def select(  # noqa: PLR0913, PLR0917  one parameter per word of the command line
    dataset: Annotated[str | None, typer.Argument(metavar="DATASET", help="As for run; not with --resume.")] = None,
    options: Options = None,
    episodes: Annotated[int | None, typer.Option(metavar="3..8", help="How many, for training, validation and test.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the result.")] = None,
    branch: Annotated[list[str] | None, typer.Option("-b", "--branch", help="Branch; may be repeated. Without it all.")] = None,
    task: Annotated[list[str] | None, typer.Option("-t", "--task", help="Task; may be repeated.")] = None,
    config: ConfigFile = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with the selection in this folder.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; without it a local Ray starts and stops.")] = None,
) -> None:
    """Choose a configuration of every branch with Ray Tune on a few episodes, and compare them on held-out ones."""
    verb = import_module("tune.verb")  # by string: the harness imports nothing above it
    if resume is None:
        asked = verb.begin(dataset, options or [], config, episodes, out, tuple(branch or ()), tuple(task or ()), address)
    elif any((dataset, options, config, episodes, out, branch, task)):
        raise BadInput(f"--resume {resume} goes on with what was asked for there; leave the other words out")
    else:
        asked = verb.resume(resume, address)
    raise typer.Exit(verb.select(asked, console(), console(error=True)))


@app.command()
def ablate(  # noqa: PLR0913, PLR0917  one parameter per word of the command line
    dataset: DatasetArgument,
    out: Out,
    options: Options = None,
    branch: Annotated[list[str] | None, typer.Option("-b", "--branch", help="Branch; may be repeated. Without it ridge.")] = None,
    task: Annotated[list[str] | None, typer.Option("-t", "--task", help="Task; may be repeated.")] = None,
    leave_one_out: Annotated[bool, typer.Option("--leave-one-out", help="Every modality left out in turn.")] = False,
    only: Annotated[bool, typer.Option("--only", help="Every modality alone in turn.")] = False,
    replace: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="Feature blocks, e.g. 'audio_*=logmel_*'.")] = None,
    modality: Annotated[list[str] | None, typer.Option("-m", "--modality", help="Only this one; may be repeated.")] = None,
    config: ConfigFile = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; without it a local Ray starts and stops.")] = None,
) -> None:
    """Take modalities away, one at a time, and compare every branch with itself; by default --leave-one-out and --only."""
    from harness.ablate.runs import Asked  # noqa: PLC0415
    from harness.ablate.runs import ablate as execute  # noqa: PLC0415
    from harness.ablate.text import print_ablation  # noqa: PLC0415
    from harness.request import Request  # noqa: PLC0415

    opened, resolved, passed = _open(dataset, options, config)
    request = Request(opened, resolved, passed, tuple(branch or ()), tuple(task or ()), out, address)
    asked = Asked(request, leave_one_out, only, tuple(replace or ()), tuple(modality or ()))
    done = execute(asked, console(error=True))
    print_ablation(done.ablation, console())
    console().print(Text(f"\nwritten to {out}"))
    raise typer.Exit(done.exit_code)


@app.command()
def score(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN_OR_BUNDLE...", help="Run folders or bundles.")],
    out: Out,
    targets: Annotated[Path | None, typer.Option(help="Run folder whose targets the bundles answer.")] = None,
    margin: Margins = None,
) -> None:
    """Recompute a leaderboard from what is on disk."""
    from harness.ledger import accesses  # noqa: PLC0415
    from harness.margins import parse_margins  # noqa: PLC0415
    from harness.report.terminal import print_leaderboard  # noqa: PLC0415
    from harness.score import score_paths  # noqa: PLC0415

    leaderboard = score_paths(paths, targets, out, parse_margins(margin or []))
    print_leaderboard(leaderboard, console(), accesses(leaderboard["split"]["test_hash"]))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder, or a folder of bundles.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The other, of the same held-out samples.")],
    targets: Annotated[Path | None, typer.Option(help="Run folder whose targets both answer.")] = None,
    difference: Annotated[
        float | None, typer.Option(help="Say how many more clusters a difference of this size would need.")
    ] = None,
    margin: Margins = None,
    as_json: AsJson = False,
) -> None:
    """Compare the branches of two runs: paired differences with intervals, verdicts and what it would take to tell."""
    from harness.compare_runs import check_difference, compare_runs, print_comparison  # noqa: PLC0415
    from harness.margins import parse_margins  # noqa: PLC0415

    check_difference(difference)
    body = compare_runs(run_a, run_b, targets, difference, parse_margins(margin or []))
    if as_json:
        print(json.dumps(body, indent=1))
    else:
        print_comparison(body, console(), difference)


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(metavar="FORMAT", help="xperience-json, jsonl or parquet.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rows, and JSON files about them.")],
    out: Out,
    targets: Annotated[Path | None, typer.Option(metavar="RUN", help="Run folder whose samples the rows answer.")] = None,
    name: Annotated[str | None, typer.Option(help="Branch id in tables; without it the name of --out.")] = None,
    allow_partial: Annotated[bool, typer.Option(help="Go on where ids are missing, twice there or in conflict.")] = False,
) -> None:
    """Check predictions made elsewhere and write them as a bundle that `score` takes."""
    from harness.imports import import_predictions  # noqa: PLC0415
    from harness.imports.request import make_request  # noqa: PLC0415

    request = make_request(kind, files, out, targets, name, allow_partial=allow_partial)
    for line in import_predictions(request):
        console().print(Text(plain(line)), soft_wrap=True)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="branches|tasks|cards|metrics|features|formats")],
    as_json: AsJson = False,
) -> None:
    """Show what there is."""
    from harness.listing import listing, print_listing  # noqa: PLC0415

    rows = listing(what)
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        print_listing(what, rows, console())


@app.command()
def store(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET] [KEY=VALUE]...", help="A data set, and options.")
    ] = None,
    config: ConfigFile = None,
    prepare: Annotated[str | None, typer.Option(metavar="BRANCH", help="Encode DATASET for it; say what that costs.")] = None,
    prune: Annotated[float | None, typer.Option(help="Remove least recently used episodes until so many GiB are left.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; without it a local Ray starts and stops.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the size of the track store, make it smaller, or fill it with the latents that a branch stands on."""
    from harness.config import load_config  # noqa: PLC0415
    from harness.dataset import home  # noqa: PLC0415
    from harness.store import TrackStore  # noqa: PLC0415

    named = [word for word in words or [] if "=" not in word]
    options = [word for word in words or [] if "=" in word]
    if prepare is not None:
        if len(named) != 1:
            raise BadInput("store --prepare: name one data set, e.g. espalier store demo --prepare world_model:jepa")
        raise typer.Exit(_prepare(named[0], options, config, prepare, address, as_json=as_json))
    if named:
        raise BadInput(f"store {named[0]}: a data set is for --prepare BRANCH; options are key=value")
    resolved, _ = load_config(config, options)
    opened = TrackStore(resolved.store.uri or str(home() / "store"), resolved.store.max_gib)
    if prune is not None:
        console().print(Text(f"removed {len(opened.prune(prune))} episodes"))
    console().print(Text(f"{opened.uri}: {opened.size() / 2**30:.3f} GiB"))


def _prepare(name: str, options: list[str], file: Path | None, branch: str, address: str | None, *, as_json: bool) -> int:
    from harness.pipeline.cluster import check_reachable, ray_session  # noqa: PLC0415
    from harness.pipeline.prepare import lines, make_order, report  # noqa: PLC0415
    from harness.pipeline.prepare import prepare as execute  # noqa: PLC0415
    from harness.progress import progress  # noqa: PLC0415

    dataset, resolved, _ = _open(name, options, file)
    order = make_order(dataset, resolved, branch)
    refs, faults = dataset.list_episodes()
    with ray_session(address), progress("prepare", len(refs), console(error=True)) as tick:
        check_reachable([dataset.root])
        body = report(order, execute(order, refs, tick))
    body["quarantined"] += [{"episode": episode, "reason": f"{path}: {why}"} for episode, path, why in faults]
    if as_json:
        print(json.dumps(body, indent=1))
    else:
        for line in lines(body):
            console().print(Text(line), soft_wrap=True)
    return 3 if body["quarantined"] else 0


@app.command()
def doctor(
    options: Options = None,
    branch: Annotated[str | None, typer.Option("-b", "--branch", help="Its parameters, what is trained, its memory.")] = None,
    preset: Annotated[str | None, typer.Option(help="Of the branch: tiny or real; no weights are needed.")] = None,
    config: ConfigFile = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster: its machines, and whether they can hold the branch.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check that what a run needs is here; with --branch or --address, look at these instead."""
    from harness.doctor import examine  # noqa: PLC0415
    from harness.doctor.text import print_findings  # noqa: PLC0415

    found = examine(branch, preset, address, options or [], config)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        print_findings(found, console())
    raise typer.Exit(1 if found.broken else 0)


def _open(name: str, options: list[str] | None, file: Path | None) -> tuple[Any, Any, dict[str, Any]]:
    from omegaconf import OmegaConf  # noqa: PLC0415

    from harness.config import load_config  # noqa: PLC0415
    from harness.dataset import open_dataset  # noqa: PLC0415

    resolved, passed = load_config(file, options or [])
    plain = OmegaConf.to_container(passed, resolve=True)
    assert isinstance(plain, dict)
    return open_dataset(name, resolved, passed), resolved, plain  # type: ignore[return-value]


def main() -> None:
    """Entry point. What stops the work is one line: exit code 2 for bad input or usage, 1 where the work itself failed."""
    try:
        code = get_command(app)(standalone_mode=False)  # the code of a `typer.Exit`, else what the verb returned: None
    except TyperException as error:
        usage = error.format_message().rstrip(".")  # empty where no verb was given: the help has been shown
        context = getattr(error, "ctx", None)
        _stop(f"{usage}; see `{context.command_path if context else 'espalier'} --help`" if usage else "", error.exit_code)
    except BadInput as error:
        _stop(str(error), 2)
    except (UnreadableEpisode, WorkFailed) as error:
        _stop(str(error), 1)
    if code == INTERRUPTED:
        _stop("stopped; the same command goes on from here", INTERRUPTED)
    sys.exit(code or 0)


def _stop(line: str, code: int) -> NoReturn:
    if line:
        console(error=True).print(Text(f"espalier: {plain(line)}", style="red"), soft_wrap=True)
    sys.exit(code)
