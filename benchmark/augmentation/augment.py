"""`medim-bench run augmentation`: divides, generates, trains every arm with every seed, compares and writes what came of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmark import DONE
from benchmark.augmentation.added_pairs import content_of, generated_pairs, offered_pairs, prompts_of, pseudo_pairs
from benchmark.augmentation.outputs import MARKDOWN, Identity, records_of, smoke, sums_of, write_results
from benchmark.augmentation.statements import statements, table
from benchmark.augmentation.trainings import Trainings
from benchmark.provenance import command_line, commit, now, versions
from benchmark.run.artifacts import Artifacts
from benchmark.run.options import RunOptions
from benchmark.run.runner import LEADERBOARD, MANIFEST, RECORDS, system_name
from benchmark.systems import HasResolution, best_device, joined, model_terms, open_model, steering_checkers, withheld
from leaderboard.build import build
from leaderboard.record import write_records
from medim.checkpoints import resolve
from medim.common.errors import UserError, unknown
from medim.common.files import hash_of, read_mapping, write_json
from medim.data import loading
from tasks import AUGMENTATION, task_named
from tasks.adapters.checkers.attach import attach_steering
from tasks.augmentation.arms import Arm, Pools, arms_of, needed
from tasks.augmentation.comparison import compare
from tasks.augmentation.settings import PSEUDO, SYNTHETIC, SYNTHETIC_ONLY, AugmentationSettings, Regime, parse_settings
from tasks.augmentation.splits import OTHER_SET, REAL_SET, TEST_SET, VALIDATION_SET, Division, divide
from tasks.cases import own_resolution
from tasks.downstream import open_downstream
from tasks.protocols import PROTOCOL, Generator, Limited
from tasks.scoring.context import Context

SPLITS = "splits.json"
PREFIX = "augmentation."
PRESETS = Path(__file__).parent / "presets"
SIGNED = ("regime", "preset", "downstream", "seeds", "real_pairs", "data", "splits", "resolution", "smoke")  # of every record


def execute_augmentation(options: RunOptions) -> int:
    """Returns the exit status; the same call again continues after whatever was done. Raises UserError: options that do not go
    together, a generator that cannot do an arm or has seen more than its regime allows."""
    if options.tasks != (AUGMENTATION,) or options.suite is not None:
        raise UserError(f"--preset, --regime and --downstream belong to the task {AUGMENTATION}, which is run alone")
    for name in ("split", "limit", "features", "judge", "cache"):
        if getattr(options, name):
            raise UserError(f"{AUGMENTATION} takes no --{name}: its preset says how many cases of val and test are used")
    if options.model is None or len(options.data) != 1 or options.out is None:
        raise UserError(f"run {AUGMENTATION} needs --model, one --data and --out")
    model, out, overrides, device = options.model, options.out, options.overrides, options.device
    preset, regime = options.preset or "quick", options.regime or "external-prior"
    seed, batch_size, protocol = options.seed or 0, options.batch_size or 64, options.protocol or PROTOCOL
    chosen = {key.removeprefix(PREFIX): value for key, value in overrides.items() if key.startswith(PREFIX)}
    settings = load_preset(preset, chosen | ({} if options.downstream is None else {"downstream": options.downstream}))
    sizes: dict[str, Any] = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    most = max([*settings.more_real, 100]) / 100
    dataset = loading.load_dataset(options.data[0])
    checkers = attach_steering(dataset, options.checkers, options.checker_labels, best_device(device))
    division = divide(dataset, further=most, **sizes)
    if settings.min_agreement is not None and None in steering_checkers(division.subset):
        needed_checkers = "checkers of reports and of images that steer: --checker steer=KIND:FILE"
        raise UserError(f"--set {PREFIX}min_agreement={settings.min_agreement:g} needs {needed_checkers}")
    learned = check_regime(regime, model, division, settings)
    sampling = {key: value for key, value in overrides.items() if not key.startswith(PREFIX)}
    generator = open_model(model, device, sampling, division.subset)
    arms = _possible(arms_of(settings), generator, division)
    side = _side(options.resolution, generator, division)
    trained = open_downstream(settings.downstream, best_device(device))
    task, subset = f"augmentation ({regime})", division.subset
    configuration = {
        "model": system_name(generator),
        "model_fingerprint": generator.fingerprint,
        "settings": json.loads(json.dumps(generator.settings())),
        "dataset": subset.name,
        "dataset_fingerprint": subset.fingerprint,
        "resolution": side,
        "seed": seed,
        "protocol": protocol,
        "regime": regime,
        "split": "test",
        "augmentation": settings.model_dump(mode="json"),
        "arms": [arm.name for arm in arms],
        **checkers,
    }
    terms = joined(subset.terms, model_terms(model))
    shows = options.show_samples or not withheld(terms)
    with Artifacts.claim(out, configuration, options.overwrite) as artifacts:
        write_json(out / SPLITS, division.as_json())  # before anything is generated
        provenance = artifacts.get("begun", configuration)
        if provenance is None:
            provenance = {"command": command_line(), "commit": commit(), "created": now()}
            artifacts.put("begun", configuration, provenance)
        pools, prompts = _pools(generator, arms, division, settings, side, out, terms=terms, seed=seed, batch_size=batch_size)
        context = Context.for_dataset(division.dataset, best_device(device), seed)
        context.protocol = protocol
        validation, cases = division.examples(VALIDATION_SET, side), division.cases(TEST_SET, side)
        results = Trainings(artifacts, trained, settings, pools, validation, cases, context, task, seed).run(arms)
        added = {result.arm.name: result.training["added"] for result in results}
        comparison = compare(sums_of(results), arms, added, settings.margin, seed)
        generated = {"n": len(pools.synthetic), "content": content_of(pools.synthetic), "prompts": prompts}
        setting = {
            "downstream": trained.name,
            "dataset": division.dataset.name,
            "low_data": subset.name,
            "data": subset.fingerprint,
            "splits": division.fingerprint,
            "real_pairs": len(pools.real),
            "real_patients": len(division.patients(REAL_SET)),
            "validation_cases": len(validation),
            "test_cases": len(cases),
            "test_patients": len(division.patients(TEST_SET)),
            "seeds": list(settings.seeds),
            "smoke": smoke(len(cases), subset.synthetic),
            "settings": settings.model_dump(mode="json"),
            "regime": regime,
            "model": configuration["model"],
            "preset": preset,
            "resolution": side,
            "training": learned,
            "generated": generated,
        }
        fields = {"dataset": subset.name, "split": "test", "seed": seed, "protocol": protocol, **provenance}
        fields |= {"synthetic": subset.synthetic, "run": hash_of(configuration)}
        signature = {key: setting[key] for key in SIGNED}
        signature |= {"downstream_settings": results[0].training["fitted"]["settings"], "steps": settings.steps}
        signature |= {"stopping": "lowest validation loss"}
        of_the_system = {"generator": generator.fingerprint, "sampler": configuration["settings"], "generated": generated}
        of_the_system |= {"min_agreement": settings.min_agreement, **learned}
        identity = Identity(task, str(configuration["model"]), fields, signature, of_the_system)
        write_records(out / RECORDS, records_of(results, comparison, identity))
        manifest = {**configuration, **fields, "terms": terms, "withhold_samples": not shows, "tasks": [task]}
        write_json(out / MANIFEST, manifest | {"n": len(cases), "failures": 0, "versions": versions()})
        write_results(out, results, arms, comparison, setting, settings, cases, task, shows)
        build([out], out / LEADERBOARD)
    lines = table(arms, comparison, {result.arm.name: result.training for result in results})
    click.echo("\n".join(["", *lines, "", *statements(arms, comparison, settings)]))
    if setting["smoke"]:
        click.echo(setting["smoke"])
    if subset.synthetic:
        click.echo(f"{division.dataset.name} is synthetic: these numbers prove the software, not a model's clinical worth.")
    click.echo(f"report: {out / MARKDOWN}\npage: {out / LEADERBOARD / 'index.html'}")
    return DONE


def load_preset(name: str, overrides: Mapping[str, str]) -> AugmentationSettings:
    """The settings of a preset, each a YAML file in `presets/`, with some fields replaced.
    Raises UserError: no such preset or field, or a value that is not valid."""
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in names:
        raise unknown("preset", name, names)
    return parse_settings((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml", overrides)


def check_regime(regime: Regime, model: str, division: Division, settings: AugmentationSettings) -> dict[str, Any]:
    """What the signature holds of what the generator has seen: the pairs of the downstream model (`budget-matched`) or more.

    `budget-matched` is checked against what a training wrote of itself: model and image tokenizer both have to name the
    low-data set, by its hash. A language model's pretraining on text is no pair of the set; it stands in the signature.

    Raises UserError: a generator under `budget-matched` that was trained on anything but the low-data set, or whose training is
    not known; the message names the commands that train one.
    """
    training = _written(model, "training.json")
    learned = {"regime": regime, "trained_on": training.get("data"), "pretrained": training.get("recipe", {}).get("pretrained")}
    if regime == "external-prior":
        return learned
    if settings.min_agreement is not None:
        raise UserError("budget-matched takes no min_agreement: the checker that filters was trained on other cases than these")
    subset = division.subset
    train = (
        f"medim-bench train tokenizer --preset phantom-tiny --data '{subset.name}' --out TOKENIZER; "
        f"medim-bench train model --preset phantom-tiny --data '{subset.name}' --tokenizer TOKENIZER --out MODEL"
    )
    tokenizer = _written(model, "image_tokenizer/image_tokenizer.json").get("training", {}).get("data", {})
    name = f"'{training['data']}' " if "data" in training else "data "
    parts = (("model", training.get("data_fingerprint"), name), ("image tokenizer", tokenizer.get("fingerprint"), "data "))
    for part, fingerprint, seen in parts:
        if fingerprint is None:
            raise UserError(
                f"--model {model}: what its {part} was trained on is not known, so it is not budget-matched: {train}"
            )
        if fingerprint != subset.fingerprint:
            raise UserError(
                f"--model {model}: its {part} was trained on {seen}({fingerprint}), and budget-matched allows the low-data set "
                f"'{subset.name}' ({subset.fingerprint}) alone: give --regime external-prior, or train one: {train}"
            )
    return learned


def _written(model: str, name: str) -> dict[str, Any]:
    """A file of a trained model's folder; nothing of another kind of system, whose training is written nowhere."""
    try:
        path: Path = resolve(model) / name
    except UserError:
        return {}
    return read_mapping(path) if path.is_file() else {}


def _possible(arms: Sequence[Arm], generator: Any, division: Division) -> list[Arm]:
    """The arms that this generator and these data can do; why the others are skipped is printed.
    Raises UserError: an arm with generated pairs cannot be done."""
    if not isinstance(generator, Generator):
        raise UserError("augmentation needs a generator; a folder of predictions generates nothing")
    kept = []
    real, further = len(division.rows[REAL_SET]), len(division.rows[OTHER_SET])
    for arm in arms:
        counts = needed([arm], real)
        task = "joint-generation" if counts["synthetic"] else "report-generation" if arm.kind == PSEUDO else None
        why = generator.cannot(task_named(task)) if task is not None and isinstance(generator, Limited) else None
        if counts["further"] > further:
            why = f"{counts['further']} further real pairs are needed and the training split has {further}"
        if why is None:
            kept.append(arm)
        elif arm.kind in (SYNTHETIC, SYNTHETIC_ONLY):
            raise UserError(f"'{generator.name}' cannot do the arm {arm.name}: {why}")
        else:
            click.echo(f"{arm.name}: skipped: {why}", err=True)
    return kept


def _pools(
    generator: Generator,
    arms: Sequence[Arm],
    division: Division,
    settings: AugmentationSettings,
    side: int,
    out: Path,
    *,
    terms: str,
    **drawing: int,
) -> tuple[Pools, str]:
    """What the arms are composed of, and the hash of the prompts; `drawing` is `seed` and `batch_size`."""
    real = division.examples(REAL_SET, side)
    counts = needed(arms, len(real))
    prompts = prompts_of(settings, division, real, generator, drawing["seed"])
    pools: dict[str, Sequence[Any]] = {}
    if counts["further"]:
        pools["further"] = division.examples(OTHER_SET, side, counts["further"])
    if count := counts["synthetic"]:
        pools["synthetic"] = generated_pairs(generator, count, division, prompts, out, settings, terms=terms, **drawing)
    if counts["pseudo"]:
        pools["pseudo"] = pseudo_pairs(generator, counts["pseudo"], division, side, out, **drawing)
    if counts["placebo"]:
        pools["placebo"] = offered_pairs(real, division, out)
    return Pools(real, **pools), prompts.fingerprint


def _side(given: int | None, generator: Generator, division: Division) -> int:
    """As given, else the generator's, else the data set's."""
    if given is not None:
        return given
    if isinstance(generator, HasResolution) and generator.resolution is not None:
        return generator.resolution
    side = own_resolution(division.subset, "train")
    if side is None:
        raise UserError(f"data set '{division.dataset.name}' holds reports alone")
    return side
