"""What an export says of itself: gate/gate.json, and the data card README.md: source, terms, and what the gate did."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from benchmark.export.formats.form import Form
from benchmark.export.gate import GATE_MEASURES, Gate
from benchmark.export.shards import Work
from benchmark.export.sources import Source
from benchmark.provenance import command_line, commit, now
from medim.pair import SPLITS

_MEANING = {
    "agreement": "findings that the steering checker of images and the checker of reports share, over all they read",
    "nats": "upper bound on -log p(image, report) under the model",
    "distance": "to the nearest training image, mirrored or not, in units of the threshold below which it is a near-copy",
}


def report_of(work: Work, source: Source, gate: Gate, form: Form, title: str, terms: str) -> dict[str, Any]:
    """The content of `gate/gate.json`."""
    by_split, reasons = Counter(dict.fromkeys(SPLITS, 0)), Counter[str]()
    values: dict[str, list[float]] = {name: [] for name in GATE_MEASURES}
    synthetic = kept = judged = 0
    for line in work.dropped():
        judged += 1
        reasons["no pair" if line["broken"] else line["reason"]] += 1
    for line in work.kept():
        judged, kept = judged + 1, kept + 1
        fields = line["fields"]
        by_split[fields["split"]] += 1
        synthetic += fields["synthetic"]
        for name in GATE_MEASURES:
            if fields["gate"][name] is not None:
                values[name].append(fields["gate"][name])
    return {
        "title": title,
        "format": form.name,
        "terms": terms,
        "synthetic": synthetic == kept,
        "source": source.describe(),
        "gate": gate.report(),
        "dropped": dict(reasons.most_common()),
        "counts": {"kept": kept, "judged": judged, "synthetic": synthetic, "by_split": dict(by_split)},
        "measures": {name: _spread(numbers) for name, numbers in values.items()},
        "commit": commit(),
        "command": command_line(),
        "created": now(),
    }


def _spread(numbers: list[float]) -> dict[str, Any]:
    if not numbers:
        return {"n": 0, "least": None, "median": None, "most": None}
    least, median, most = np.quantile(numbers, [0, 0.5, 1])
    return {"n": len(numbers), "least": float(least), "median": float(median), "most": float(most)}


def data_card(form: Form, report: Mapping[str, Any]) -> str:
    """The card of an export whose gate reported `report` (`gate/gate.json`)."""
    counts, source, gate = report["counts"], report["source"], report["gate"]
    splits = tuple(split for split, number in counts["by_split"].items() if number)
    header: dict[str, Any] = {"pretty_name": report["title"], "license": "other", "license_name": report["terms"]}
    if counts["synthetic"]:
        header["tags"] = ["synthetic"]
    header |= form.card_header(splits)
    lines = ["---", yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(), "---", "", f"# {report['title']}", ""]
    lines += [
        f"{counts['kept']:,} pairs of a medical image and its report, {counts['synthetic']:,} of them synthetic: "
        + ("no patient stands behind these, and none of them is a diagnosis." if counts["synthetic"] else "none generated."),
        "",
        f"Terms: {report['terms']}",
        "",
        f"Read with: `{form.reading}`",
        "",
        "## Source",
        "",
        *(f"* {key}: {value}" for key, value in source.items() if not isinstance(value, Mapping) and value != ""),
        f"* by split: {', '.join(f'{split} {number:,}' for split, number in counts['by_split'].items())}",
        f"* code: {report['commit']}",
        f"* command: `{report['command']}`",
        "",
        "## Gate",
        "",
        f"{counts['judged']:,} pairs were judged and {counts['judged'] - counts['kept']:,} dropped; each is listed in "
        "`gate/dropped.jsonl`.",
        "",
        *(f"* {reason}: {number:,}" for reason, number in report["dropped"].items()),
        "" if report["dropped"] else "Nothing was dropped.",
        "",
    ]
    lines += ["| measure | n | least | median | most | what it is |", "| --- | --- | --- | --- | --- | --- |"]
    for name, values in report["measures"].items():
        shown = " | ".join("" if values[key] is None else f"{values[key]:.4g}" for key in ("least", "median", "most"))
        lines.append(f"| {name} | {values['n']:,} | {shown} | {_MEANING[name]} |")
    rules = {key: value for key, value in gate["rules"].items() if value is not None}
    lines += ["", f"Rules: {', '.join(f'{key} {value}' for key, value in rules.items())}.", ""]
    if gate["search"] is None:
        lines += [
            "These pairs were NOT held against any training set; they left unscreened because that was requested by name."
        ]
    else:
        lines += [f"Held against {gate['search']['training_pairs']:,} training pairs ({gate['search']['training']})."]
        lines += ["A pair that is no near-copy is not thereby new."]
    if gate["rules"]["allow_near_copies"]:
        lines += ["Near-copies of training images were let out, by name: see `distance` of each pair."]
    return "\n".join(lines) + "\n"
