"""What every renderer shows of a leaderboard: the same cells as text, so that formats cannot disagree."""

from dataclasses import dataclass, field
from typing import Any

from harness.compare import power_line
from harness.report.content import shared_lines
from harness.report.folds import fold_sections, outlier_lines
from harness.report.margin import margin_line
from harness.report.section import Section, interval, number

COLUMNS = ("branch", "value", "95 % interval", "rank", "vs floor", "skill", "coverage", "seen / unseen", "G", "note")
PAIR_COLUMNS = ("a", "b", "a better by", "95 % interval", "p (family)", "verdict on a", "smallest found", "G", "more clusters")
PROBABILITY_COLUMNS = ("branch", "log-loss", "Brier", "ECE", "unknown to train")
STRATUM_COLUMNS = ("branch", "missing", "value", "episodes")
LEFT_COLUMNS = (
    *("branch", "note", "a", "b", "verdict on a", "missing", "task", "weights", "pretraining data"),
    *("tested", "outlier fold"),
)
FEW_CLUSTERS = 5


@dataclass(frozen=True)
class TaskTable:
    """One task.

    Attributes:
        title: Task id and what it is.
        subtitle: Metric, direction, floor, ceiling, sample counts.
        main: Cells under `COLUMNS`.
        conclusions: What can be told of the order, a line each.
        folds: Numbers over folds and of every fold, where a metric has them.
        sections: Pairs, probabilities, sensor strata: where there are any.
    """

    title: str
    subtitle: str
    main: Section
    conclusions: list[str]
    folds: list[Section]
    sections: list[Section] = field(default_factory=list)


def headline(leaderboard: dict[str, Any], accesses: str = "") -> list[str]:
    """What must be said before any number.

    Args:
        leaderboard: As `harness.leaderboard.build` gave it.
        accesses: How often the held-out set was looked at, see `harness.ledger`.
    """
    split = leaderboard["split"]
    lines = [
        f"evidence: {leaderboard['evidence']}; split: {split['kind']}, unit {split['unit']}, {split['folds']} fold(s), "
        f"hash {split['hash']}; G = {split['clusters']} test clusters",
    ]
    if leaderboard["evidence"] == "mock":
        lines.append("the recordings are simulated: these numbers say nothing about real data")
    kept = leaderboard.get("kept_from_view", {})
    if kept.get("hidden"):
        lines.append(f"hidden from every branch: {', '.join(kept['hidden'])}")
    if kept.get("only"):
        lines.append(f"every branch is shown nothing but {', '.join(kept['only'])}")
    for unit, names in split["shared"].items():
        lines.append(f"shared: {unit} ({len(names)} stand on both sides of the split)")
    lines += [f"shared: {line}" for line in _shared(leaderboard)]
    lines += shared_lines(split)
    lines += split.get("remarks", [])
    if split["lacking"]:
        lines.append(f"lacking: {split['lacking']} episode(s) lack what the run asks for and are not used; see manifest.json")
    if split["quarantined"]:
        lines.append(f"quarantined: {split['quarantined']} episode(s) could not be read; see manifest.json")
    if split["clusters"] <= FEW_CLUSTERS:
        lines.append(f"G <= {FEW_CLUSTERS}: no winner can be told from so few clusters; intervals at G <= 2 are not estimable")
    once = sorted({row["branch"] for row in leaderboard["rows"] if row["n_seeds"] == 1 and not row["privileged"]})
    if once:
        lines.append(f"one seed: how much a value depends on it is not estimated ({', '.join(once)})")
    if accesses:
        lines.append(accesses)
    return lines


def _shared(leaderboard: dict[str, Any]) -> list[str]:
    """Branches that were fitted on a session or participant that they are tested on, beyond what the split shares."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in leaderboard["rows"]:
        for unit, names in row["shared"].items():
            found.setdefault((unit, row["branch"]), set()).update(set(names) - set(leaderboard["split"]["shared"].get(unit, ())))
    return [f"{unit} {', '.join(sorted(names))} (fitted and tested on by {b})" for (unit, b), names in found.items() if names]


def capabilities(leaderboard: dict[str, Any]) -> list[Section]:
    """Who answers what and how, and what pretrained weights have seen."""
    branches = leaderboard["branches"]
    names = [branch["branch"] for branch in branches]
    rows = [(task["id"], *(branch["answers"][task["id"]] or "N/A" for branch in branches)) for task in leaderboard["tasks"]]
    found = [Section("Who answers what", ("task", *names), rows)] if names else []
    seen = [
        (branch["branch"], branch["weights"] or "none", ", ".join(f"{d}: {s}" for d, s in branch["pretraining"].items()))
        for branch in branches
        if branch["weights"] or branch["pretraining"]
    ]
    if seen:
        cells = [(name, weights, data or "not declared: unknown") for name, weights, data in seen]
        found.append(Section("What pretrained weights have seen", ("branch", "weights", "pretraining data"), cells))
    return found


def tables(leaderboard: dict[str, Any]) -> list[TaskTable]:
    """One table per task that a branch answered, in order."""
    out = []
    for task in leaderboard["tasks"]:
        rows = [row for row in leaderboard["rows"] if row["task"] == task["id"]]
        floor = task["floor"]
        arrow = "higher is better" if task["direction"] == "up" else "lower is better"
        subtitle = (
            f"{task['metric']}{f' [{task["unit"]}]' if task['unit'] else ''}, {arrow}; floor {number(floor['value'])} "
            f"({floor['branch']}), ceiling {number(task['ceiling'])}; {task['n_samples']} test samples"
        )
        values = [row["value"] for row in rows if not row["privileged"]]
        if margin := margin_line(task["margin"], floor["value"], values):
            subtitle += f"; {margin}"
        if task["vacuous"]:
            subtitle += f"; VACUOUS: {task['vacuous']}"
        pairs = [pair for pair in leaderboard["comparisons"] if pair["task"] == task["id"]]
        main = Section("", COLUMNS, [_cells(row, leaderboard["evidence"], task["ranking"]) for row in rows])
        sections = [section for section in (_pairs(rows, pairs), _probabilities(task, rows), _strata(rows)) if section.rows]
        conclusions = [*_conclusions(task), *outlier_lines(task)]
        out.append(TaskTable(f"{task['id']}: {task['title']}", subtitle, main, conclusions, fold_sections(rows), sections))
    return out


def _conclusions(task: dict[str, Any]) -> list[str]:
    """Per company of branches that may be ranked together: who leads, or that nobody can be told apart."""
    lines = [power_line(task["n_clusters"])] if task["ranking"] else []
    for company in task["ranking"]:
        if company["ranked"] < 2:
            continue
        who = f"{company['route']}, {company['track']} inputs" if len(task["ranking"]) > 1 else "ranked"
        if company["winner"]:
            lines.append(f"{who}: {company['winner']} is better than each of the other {company['ranked'] - 1}")
        else:
            leaders = company["leaders"]
            lines.append(
                f"{who}: no winner; not told apart at the top: {', '.join(leaders)} ({len(leaders)} of {company['ranked']})"
            )
    return lines


def _cells(row: dict[str, Any], evidence: str, companies: list[dict[str, Any]]) -> tuple[str, ...]:
    strata = (
        ""
        if row["seen_value"] is None and row["unseen_value"] is None
        else (f"{number(row['seen_value'])} / {number(row['unseen_value'])}")
    )
    coverage = "" if row["coverage"] is None else f"{100 * row['coverage']:.0f} %"
    if row["failures"] and row["coverage_ci"]:
        coverage += f" [{100 * row['coverage_ci'][0]:.0f}, {100 * row['coverage_ci'][1]:.0f}]"
    return (
        row["branch"],
        number(row["value"]),
        interval(row["ci_low"], row["ci_high"]),
        _rank(row, companies),
        _against_floor(row),
        number(row["skill"]),
        coverage,
        strata,
        str(row["n_clusters"]),
        ", ".join(_notes(row, evidence)),
    )


def _rank(row: dict[str, Any], companies: list[dict[str, Any]]) -> str:
    """`1-2 of 5`, with its company where there are several."""
    if row["rank_interval"] is None:
        return "-"
    low, high = row["rank_interval"]
    [company] = [c for c in companies if (c["route"], c["track"]) == (row["route"], row["track"])]
    where = f" ({row['route']}, {row['track']})" if len(companies) > 1 else ""
    return f"{low if low == high else f'{low}-{high}'} of {company['ranked']}{where}"


def _against_floor(row: dict[str, Any]) -> str:
    if row["verdict_vs_floor"] is None:
        return "-"
    leaning = f", leaning {row['leaning']}" if row["leaning"] else ""
    p = "" if row["p_vs_floor"] is None else f" (p {row['p_vs_floor']:.2g})"
    return f"{row['verdict_vs_floor']}{leaning}{p}"


def _notes(row: dict[str, Any], evidence: str) -> list[str]:
    notes = [] if row["route"] == "native" else [row["route"]]
    if row["track"] != "full":
        notes.append(f"{row['track']} inputs")
    if row["privileged"]:
        notes.append("privileged, not ranked")
    elif row["unranked"]:
        notes.append(f"not ranked: {row['unranked']}")
    if row["gates"]:
        notes.append(f"gates not met: {', '.join(row['gates'])}")
    if row["evidence"] != evidence:
        notes.append(f"evidence: {row['evidence']}")
    detail = row["detail"]
    if detail.get("mae_mean") is not None:
        ends = "" if detail["mae_ci_low"] is None else f" [{number(detail['mae_ci_low'])}, {number(detail['mae_ci_high'])}]"
        notes.append(f"mae {number(detail['mae_mean'])}{ends}")
    if detail.get("seed_sd") is not None:
        notes.append(f"sd over {row['n_seeds']} seeds {number(detail['seed_sd'])}")
    notes += detail.get("notes", [])
    notes += [f"published {name} {number(value)}" for name, value in detail.get("published", {}).items()]
    notes += [f"{n} {status}" for status, n in row["failures"].items()]
    if row["failures"]:
        worst = number(row["bounds"]["worst"]) if row["bounds"]["worst"] is not None else "unbounded"
        notes.append(f"answered rows alone {number(row['complete_case'])}; bounds {worst} .. {number(row['bounds']['best'])}")
    return notes


def _pairs(rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> Section:
    """The best of every company against the rest; all pairs stand in the JSON."""
    bests: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda row: row["unranked"] is not None):  # the best that is ranked, where any is
        if not row["privileged"]:
            bests.setdefault((row["route"], row["track"]), row["branch"])
    chosen = [pair for pair in pairs if {pair["a"], pair["b"]} & set(bests.values())]
    how = sorted({f"{pair['test']}, {pair['correction']} over the family" for pair in chosen})
    return Section(f"Best against the rest ({'; '.join(how)})", PAIR_COLUMNS, [pair_cells(pair) for pair in chosen])


def pair_cells(pair: dict[str, Any]) -> tuple[str, ...]:
    """Cells of one contrast under `PAIR_COLUMNS`."""
    verdict = pair["verdict"] + (f", leaning {pair['leaning']}" if pair["leaning"] else "")
    needed = pair["clusters_for_difference"]
    more = "-" if needed is None else str(max(needed - pair["n_clusters"], 0))
    return (
        pair["a"],
        pair["b"],
        number(pair["difference"]),
        interval(pair["ci_low"], pair["ci_high"]),
        number(pair["p_adjusted"]),
        verdict,
        number(pair["mde"]),
        str(pair["n_clusters"]),
        more,
    )


def _probabilities(task: dict[str, Any], rows: list[dict[str, Any]]) -> Section:
    """Empty where no branch offers any."""
    title = "Probabilities"
    scored = [row for row in rows if not row["privileged"]]
    if not any(row["probabilities"] for row in scored):
        return Section(title, PROBABILITY_COLUMNS, [])
    first = next(row["probabilities"] for row in scored if row["probabilities"])
    title += f" (no probability counts as less than {first['probability_floor']:g})"
    lines = [(f"floor ({task['floor']['branch']})", task["floor"]["probabilities"])]
    lines += [(row["branch"], row["probabilities"]) for row in scored]
    return Section(title, PROBABILITY_COLUMNS, [_probability_cells(name, found) for name, found in lines])


def _probability_cells(name: str, found: dict[str, float | None] | None) -> tuple[str, ...]:
    if found is None:
        return name, "offers none", "", "", ""
    share, binned = found["other_share"], found["ece_share"]
    calibration = number(found["ece"])
    if binned is not None and binned < 1:
        calibration += f" (of {100 * binned:.0f} %)"
    return (
        name,
        *(number(found[key]) for key in ("log_loss", "brier")),
        calibration,
        "" if share is None else f"{100 * share:.1f} % of truths",
    )


def _strata(rows: list[dict[str, Any]]) -> Section:
    cells = [
        (row["branch"], name, number(found["value"]), str(found["episodes"]))
        for row in rows
        for name, found in row["strata"].items()
    ]
    return Section("By sensors that are missing", STRATUM_COLUMNS, cells)
