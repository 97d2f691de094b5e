"""The body of a report: its statements grouped by side and worded region by region, absences in the region they belong to."""

from dataclasses import dataclass

import numpy as np

from medim.data.phantom.labels import ABSENT, LATERAL, PRESENT, SIDES, UNCERTAIN
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.findings import TABLES, spec_of
from medim.data.phantom.v2.writing.phrases import WORDS, joined, pick, sentence
from medim.data.phantom.v2.writing.sentences import Group, listed, since, tell
from medim.data.phantom.v2.writing.statements import CELLULARITY, Statement, Streams

GROUPED = 0.7  # share of two-sided findings, alike in state and course, that are stated together
DETAILED = 0.8  # share of findings of which a long report says something more
WITHOUT = 0.25  # share of pleural denials hung on the sentence of the region's only finding


@dataclass(frozen=True)
class Body:
    """What is said of a case, ready to be worded."""

    case: Case
    said: dict[str, Statement]  # what is said, by label
    streams: Streams  # where every wording is drawn from

    def groups(self, kind: str) -> list[Group]:
        """The groups of a kind that assert something, leave it open, or tell that it is gone."""
        stated = [s for s in self.said.values() if s.kind == kind and s.finding is not None and s.label not in CELLULARITY]
        if len(stated) == 2 and self.streams.of("grouped", kind).random() < GROUPED:
            left, right = stated
            alike = (left.state, left.course, left.likely) == (right.state, right.course, right.likely)
            if alike and left.state != UNCERTAIN and not left.likely:
                return [Group((left, right))]
        return [Group((statement,)) for statement in stated]

    def stream_of(self, purpose: str, group: Group) -> np.random.Generator:
        """The generator of a group's wording: its label's own, or its kind's where both sides are stated together."""
        return self.streams.of(purpose, group.first.kind if len(group.statements) == 2 else group.first.label)

    def denied(self, kind: str) -> list[str]:
        """The labels of a kind that are plainly denied."""
        return [s.label for s in self.said.values() if s.kind == kind and s.state == ABSENT and s.finding is None]

    def region(self, region: str, details: bool) -> list[str]:
        """The sentences of one region; `details` adds what a long report says of each finding."""
        kinds = TABLES.regions[self.case.domain][region]
        if region == "cellularity":
            return self.cellularity()
        sentences: list[str] = []
        for kind in kinds:
            for group in self.groups(kind):
                sentences.append(sentence(tell(group, self.case, self.stream_of("told", group))))
                if details and group.first.state == PRESENT:
                    sentences += self._details(group)
        return self._with_absences(region, kinds, sentences)

    def _details(self, group: Group) -> list[str]:
        rng = self.stream_of("detail", group)
        kind, finding = group.first.kind, group.first.finding
        assert finding is not None
        stated = [sentence(pick(rng, WORDS.details[kind]))] if rng.random() < DETAILED else []
        if kind in WORDS.conspicuity and len(group.statements) == 1 and rng.random() < 0.5:
            low, high = spec_of(finding.label).contrasts
            share = (finding.contrast - low) / (high - low)
            if not 0.25 < share < 0.75:
                stated.append(sentence(pick(rng, WORDS.conspicuity[kind]["faint" if share <= 0.25 else "dense"])))
        return stated

    def _with_absences(self, region: str, kinds: tuple[str, ...], sentences: list[str]) -> list[str]:
        rng = self.streams.of("absences", region)
        entire = [kind for kind in kinds if len(self.denied(kind)) == (2 if kind in LATERAL else 1)]
        one_sided = {kind: self.denied(kind) for kind in kinds if kind in LATERAL and len(self.denied(kind)) == 1}
        if region == "heart" and entire:
            return [*sentences, sentence(pick(rng, WORDS.heart_normal))]
        if region == "devices" and len(entire) == 2 and rng.random() < 0.6:
            return [*sentences, sentence(pick(rng, WORDS.no_devices))]
        if region == "lungs" and len(entire) == 3 and rng.random() < 0.6:
            return [*sentences, sentence(pick(rng, WORDS.lungs_clear))]
        if region == "lungs" and len(one_sided) == 2:
            sides = {labels[0].partition(" ")[0] for labels in one_sided.values()}
            if len(sides) == 1 and rng.random() < 0.5:
                sentences.append(sentence(pick(rng, WORDS.lung_clear).format(side=sides.pop())))
                one_sided = {}
        for kind, labels in one_sided.items():
            rng_of_kind = self.streams.of("denial", kind)
            frames = WORDS.angle_clear if kind == "effusion" and rng_of_kind.random() < 0.3 else WORDS.frames["denied_side"]
            side = labels[0].partition(" ")[0]
            sentences.append(sentence(pick(rng_of_kind, frames).format(side=side, these=self._absent_name(kind))))
        if not entire:
            return sentences
        these = joined([self._absent_name(kind) for kind in entire], "or")
        if region == "pleura" and len(sentences) == 1 and rng.random() < WITHOUT and self._can_carry(kinds, sentences[0]):
            return [sentence(f"{sentences[0].removesuffix('.')} {pick(rng, ('without', 'but no', 'with no'))} {these}")]
        return [*sentences, sentence(pick(rng, WORDS.frames["denied"]).format(these=these))]

    def _absent_name(self, kind: str) -> str:
        return pick(self.streams.of("absent name", kind), WORDS.findings[kind].absent)

    def _can_carry(self, kinds: tuple[str, ...], text: str) -> bool:
        """Whether a denial may follow in the sentence: it asserts a finding, plainly and in few words."""
        groups = [group for kind in kinds for group in self.groups(kind)]
        plain = len(groups) == 1 and groups[0].first.state == PRESENT and groups[0].first.course is None
        return plain and "," not in text and not groups[0].first.likely

    def cellularity(self) -> list[str]:
        """The sentence on cellularity, if any."""
        stated = [self.said[label] for label in CELLULARITY if label in self.said]
        level = self.case.cellularity
        if not stated or level is None:
            return []
        rng = self.streams.of("told", "cellularity")
        statement = max(stated, key=lambda each: each.finding is not None)
        certainty = "open" if statement.state == UNCERTAIN else "likely" if statement.likely else "said"
        course = {"unchanged": "same", "new": "changed"}.get(statement.course or "")
        frame = course if course and certainty == "said" else certainty
        text = pick(rng, WORDS.cellularity[frame]).format(level=level, hyper=WORDS.hyper[level])
        return [sentence(f"{text} {since(self.case, rng, new=True)}" if frame == "changed" else text)]

    def cellularity_phrase(self, rng: np.random.Generator) -> str:
        """A noun phrase on cellularity, empty where none is stated plainly."""
        stated = [self.said[label] for label in CELLULARITY if label in self.said]
        level = self.case.cellularity
        if level is None or not stated or any(statement.state == UNCERTAIN for statement in stated):
            return ""
        return pick(rng, WORDS.cellularity["phrases"]).format(level=level, hyper=WORDS.hyper[level])

    def all_groups(self) -> list[Group]:
        """Groups of every region, in its order; cellularity is not among them."""
        regions = TABLES.regions[self.case.domain].values()
        return [group for kinds in regions for kind in kinds for group in self.groups(kind)]

    def list_items(self, purpose: str, state: str) -> list[str]:
        """A noun phrase for each group in that state: present or uncertain."""
        groups = [group for group in self.all_groups() if group.first.state == state]
        return [listed(group, self.stream_of(purpose, group)).text for group in groups]

    def list_absent(self) -> str:
        """All plain denials as one list, with the side where only one side is denied; empty where there are none."""
        names = []
        for kinds in TABLES.regions[self.case.domain].values():
            for kind in kinds:
                denied = self.denied(kind)
                if len(denied) == len(SIDES) or (denied and kind not in LATERAL and kind != "cellularity"):
                    names.append(self._absent_name(kind))
        for kind in LATERAL:
            if len(denied := self.denied(kind)) == 1:
                names.append(f"{denied[0].partition(' ')[0]} {self._absent_name(kind)}")
        return joined(names, "or") if names else ""
