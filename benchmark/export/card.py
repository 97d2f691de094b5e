"""The data card of an export, README.md: what it is, where it comes from, under which terms, and what the gate did."""

from collections.abc import Mapping
from typing import Any

import yaml

from benchmark.export.formats.form import Form

_MEANING = {
    "agreement": "findings that the steering checker of images and the checker of reports share, over all they read",
    "nats": "upper bound on -log p(image, report) under the model",
    "distance": "to the nearest training image, mirrored or not, in units of the threshold below which it is a near-copy",
}


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
        f"{counts['judged']:,} pairs were judged and {counts['judged'] - counts['kept']:,} dropped; each is told in "
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
            "These pairs were NOT held against any training set; they left unscreened because that was asked for by name."
        ]
    else:
        lines += [f"Held against {gate['search']['training_pairs']:,} training pairs ({gate['search']['training']})."]
        lines += ["A pair that is no near-copy is not thereby new."]
    if gate["rules"]["allow_near_copies"]:
        lines += ["Near-copies of training images were let out, by name: see `distance` of each pair."]
    return "\n".join(lines) + "\n"
