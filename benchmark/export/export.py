"""An export from the first slot to the data card: processes fill shards, the last of them writes the form."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmark.export.card import data_card, report_of
from benchmark.export.formats import FORMS
from benchmark.export.formats.form import Form, write_lines
from benchmark.export.gate import Gate
from benchmark.export.grounding import GROUNDING
from benchmark.export.shards import WORK, Shard, Work, remove
from benchmark.export.sources import Broken, Candidate, Place, Source
from benchmark.run.predictions import save_image
from benchmark.sampling.sheets import write_contact_sheet
from medim.common.files import sweep, write_json, write_text
from medim.pair import SPLITS

SHARD_SIZE = 512
CARD, GATE, FAILURES, UNSCREENED = "README.md", "gate", "failures.jsonl", "unscreened.png"
OWNED = (CARD, GATE, FAILURES, UNSCREENED, GROUNDING, *dict.fromkeys(name for form in FORMS.values() for name in form.owned))
DUPLICATE, LEFT_BEHIND = "duplicate", "the pair that leaves with it does not"


@dataclass(frozen=True)
class Part:
    """Which process this is: `number` (from 0) of `count`.
    `alone`: it takes no shard of another's, as those on another machine's disk are not seen."""

    number: int = 0
    count: int = 1
    alone: bool = False

    def order(self, shards: int) -> list[int]:
        """The shards that this process may take, its own first."""
        own = list(range(self.number, shards, self.count))
        return own if self.alone else own + [shard for shard in range(shards) if shard % self.count != self.number]


@dataclass(frozen=True)
class Outcome:
    """The result of an export."""

    finished: bool  # False where other processes still fill shards; the last one finishes
    # kept, dropped, failed: numbers of pairs, of drops, and of a model's slots that remained empty
    kept: int = 0
    dropped: int = 0
    failed: int = 0


def export(
    source: Source,
    gate: Gate,
    form: Form,
    out: Path,
    *,
    title: str,
    terms: str,
    batch_size: int = 64,
    shard_size: int = SHARD_SIZE,
    part: Part = Part(),
    overwrite: bool = False,
) -> Outcome:
    """Fills `out` with the pairs of `source` that pass `gate`; the same call again continues.

    Every slot of a generating source is tried until a pair passes or its attempts are spent, so that exactly `source.slots`
    unique pairs leave. What comes out depends on source, gate and seed alone: neither on the number of processes nor on kills.

    Raises UserError: `out` belongs to another export, or something cannot be read.
    """
    work = Work(out, source, shard_size)
    configuration = {
        "format": form.name,
        "source": source.describe(),
        "gate": gate.configuration(),
        "terms": terms,
        "shard_size": shard_size,
    }
    work.claim(configuration, overwrite, OWNED)
    if work.done() is None:
        filling = _Filling(work, source, gate, form, batch_size)
        filling.fill(part)
        with work.lock("finish", wait=True):
            if work.done() is None:
                if not all(work.shard(number).complete() for number in range(len(work))):
                    return Outcome(False)
                filling.settle_duplicates()
                _finish(work, report_of(work, source, gate, form, title, terms), source, form, shard_size)
    done = work.done()
    assert done is not None
    if not form.keeps_images:  # they are inside the form's own files
        remove(out / WORK / "images")
    return Outcome(True, **done)


@dataclass(frozen=True)
class _Filling:
    """Fills the shards of an export with the pairs of a source that pass the gate."""

    work: Work
    source: Source
    gate: Gate
    form: Form
    batch_size: int

    def fill(self, part: Part) -> None:
        """Takes shards that are open and that no other process holds."""
        work, order = self.work, part.order(len(self.work))
        slots = sum(len(work.shard(number).open_places()) for number in order) if part.alone else work.slots
        with tqdm(total=slots, desc=f"export {self.form.name}", unit="pair", mininterval=1, file=sys.stderr) as progress:
            for number in order:
                with work.lock(f"{number:05d}") as held:
                    if held:
                        self.fill_shard(work.shard(number), progress, set())

    def fill_shard(self, shard: Shard, progress: tqdm, taken: set[str]) -> None:
        """Draws, judges and stores until the shard is complete; `taken` are contents that other shards hold."""
        before = [line["content"] for line in shard.kept()]
        contents = taken | set(before)
        progress.update(len(before))
        together = self.source.together
        size = max(self.batch_size - self.batch_size % together, together)
        while open_places := shard.open_places():
            # One round of attempts after the other, so that after a kill the same one of two equal pairs comes first.
            places = [Place(*place) for place in open_places if place[1] == open_places[0][1]]
            for start in range(0, len(places), size):
                outcomes = self.source.draw(places[start : start + size])
                measured = iter(self._measured([one for one in outcomes if isinstance(one, Candidate)]))
                judged = [(one, next(measured) if isinstance(one, Candidate) else {}) for one in outcomes]
                lines = []
                for first in range(0, len(judged), together):
                    group = judged[first : first + together]
                    reasons = [self._reason(one, measures, contents) for one, measures in group]
                    for (one, measures), reason in zip(group, reasons, strict=True):
                        if isinstance(one, Candidate) and not any(reasons):
                            contents.add(one.content)
                            lines.append(self._store(shard, one, measures))
                        else:
                            lines.append(_dropped(one.place, one.id, reason or LEFT_BEHIND, measures, one))
                shard.append(lines)
                progress.update(sum(line["kept"] for line in lines))

    def _measured(self, candidates: list[Candidate]) -> list[dict[str, Any]]:
        """The gate's measures. The training split is read once the first pairs are drawn: a model that fails says so before.
        One process reads it, the others find what it stored. Until it is read, a sheet shows the pairs that wait."""
        if candidates and not self.gate.ready:
            sheet = self.work.out / UNSCREENED
            with self.work.lock("index", wait=True):
                if self.gate.search is not None:
                    write_contact_sheet(sheet, [one.image for one in candidates], [one.report for one in candidates])
                    tqdm.write(
                        f"{len(candidates)} pairs wait, shown in {sheet}: they leave once they are held against "
                        f"{self.gate.search.dataset.size('train'):,} training images, which are read once",
                        file=sys.stderr,
                    )
                self.gate.prepare()
                sheet.unlink(missing_ok=True)
        return self.gate.measure(candidates)

    def _reason(self, one: Candidate | Broken, measures: dict[str, Any], contents: set[str]) -> str | None:
        """Why an outcome does not leave for its own part; None where it may."""
        if isinstance(one, Broken):
            return f"no pair: {one.error}"
        return self.gate.reason(one.report, measures) or (DUPLICATE if one.content in contents else None)

    def _store(self, shard: Shard, one: Candidate, measures: dict[str, Any]) -> dict[str, Any]:
        """Writes the image; returns the line, which counts once it is written too."""
        name = f"{self.form.image_folder(one.fields['split'], shard.number)}/{one.place.slot:08d}.png"
        path = self.work.out / name
        save_image(one.image, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        fields = {**one.fields, "image": name, "image_sha256": digest, "report": one.report, "gate": measures}
        return {**vars(one.place), "kept": True, "content": one.content, "fields": fields}

    def settle_duplicates(self) -> None:
        """Of equal pairs in several shards the first stays; the others' slots, and those that leave with them, are tried
        again."""
        work = self.work
        while True:
            seen: set[str] = set()
            repeated: dict[int, list[dict[str, Any]]] = {}
            for number in range(len(work)):
                for _, group in groupby(work.shard(number).kept(), lambda line: line["slot"] // self.source.together):
                    lines = list(group)
                    contents = {line["content"] for line in lines}
                    if contents & seen:
                        repeated.setdefault(number, []).extend(lines)
                    else:
                        seen |= contents
            if not repeated:
                return
            with tqdm(desc="export: pairs that occur twice", unit="pair", mininterval=1, file=sys.stderr) as progress:
                for number, lines in repeated.items():
                    with work.lock(f"{number:05d}", wait=True):
                        shard = work.shard(number)
                        places = [(Place(line["slot"], line["attempt"]), line["fields"]) for line in lines]
                        shard.append([_dropped(at, fields["id"], DUPLICATE, fields["gate"]) for at, fields in places])
                        self.fill_shard(shard, progress, set(seen))
                        seen |= {line["content"] for line in shard.kept()}


def _dropped(
    place: Place, id: str, reason: str, measures: dict[str, Any], one: Candidate | Broken | None = None
) -> dict[str, Any]:
    """The line of a pair that does not leave."""
    fields = one.fields if isinstance(one, Candidate) else {}
    return {
        **vars(place),
        "kept": False,
        "id": id,
        "reason": reason,
        "broken": isinstance(one, Broken),
        **{key: fields[key] for key in ("seed", "prompt") if key in fields},
        "gate": measures,
    }


def _finish(work: Work, report: dict[str, Any], source: Source, form: Form, shard_size: int) -> None:
    """Writes the form, the gate's report and the card, then marks the export as done."""
    out = work.out
    _remove_strays(work, form)
    sweep(out, work.folder / "locks" / "finish")
    form.write(out, lambda: (line["fields"] for line in work.kept()), shard_size)
    dropped = ({key: value for key, value in line.items() if key not in ("kept", "broken")} for line in work.dropped())
    write_lines(out / GATE / "dropped.jsonl", dropped)
    failures = _failures(work, source)
    (out / FAILURES).unlink(missing_ok=True)
    if failures:
        write_lines(out / FAILURES, iter(failures))
    write_json(out / GATE / "gate.json", report)
    write_text(out / CARD, data_card(form, report))
    counts = report["counts"]
    work.finish({"kept": counts["kept"], "dropped": counts["judged"] - counts["kept"], "failed": len(failures)})


def _failures(work: Work, source: Source) -> list[dict[str, Any]]:
    """Slots of a model that remained empty; of pairs that exist, those that could not be read."""
    failures = []
    for number in range(len(work)):
        shard = work.shard(number)
        filled = {line["slot"] for line in shard.kept()}
        last: Mapping[int, dict[str, Any]] = {line["slot"]: line for line in shard.dropped() if line["slot"] not in filled}
        failures += [
            {"task": "export", "id": line["id"], "slot": slot, "attempts": line["attempt"] + 1, "error": line["reason"]}
            for slot, line in last.items()
            if source.generates or line["broken"]
        ]
    return failures


def _remove_strays(work: Work, form: Form) -> None:
    """Images whose line was never written, or was taken back: nothing leaves that the gate did not pass."""
    for number in range(len(work)):
        named = {line["fields"]["image"] for line in work.shard(number).kept()}
        for folder in {form.image_folder(split, number) for split in SPLITS}:
            for path in (work.out / folder).iterdir() if (work.out / folder).is_dir() else ():
                if path.relative_to(work.out).as_posix() not in named:
                    path.unlink()
