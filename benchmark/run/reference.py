"""`medim-bench data reference`: statistics of a data set's split, against which a site without its images scores."""

import click

from benchmark import DONE
from benchmark.run.data import check_features
from benchmark.run.options import ReferenceOptions
from benchmark.systems import best_device, withheld
from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.perception.space import DEFAULT
from tasks.cases import cases_of, own_resolution
from tasks.scoring.context import Context
from tasks.scoring.reference import write_reference


def execute_reference(name: str, options: ReferenceOptions) -> int:
    """Writes the statistics of a data set and prints what they are; returns the exit status.
    Raises UserError: the data set has no images, cannot be read, or a feature space fails."""
    dataset = load_dataset(name)
    side = options.resolution or own_resolution(dataset, options.split)
    if side is None:
        raise UserError(f"data set '{name}' holds reports alone: statistics are of images and reports")
    features = tuple(dict.fromkeys(options.features or (DEFAULT,)))
    check_features(features)
    cases = cases_of(dataset, options.split, side, options.limit)
    context = Context(device=best_device(options.device), features=features)
    about = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": options.split, "resolution": side}
    about |= {"terms": dataset.terms, "synthetic": dataset.synthetic}
    banks = [context.bank(spec) for spec in features]
    index = write_reference(options.out, cases, banks, options.protocol, about, options.with_features)
    for space in index["spaces"].values():
        kind = "mean, covariance and features" if options.with_features else "mean and covariance"
        click.echo(f"{space['features']}: {kind} of {index['n']} images, {space['dimension']} features")
    click.echo(f"{index['n-grams']} n-grams of two reports or more, of {index['n']} reports: {options.protocol}")
    click.echo(f"terms: {dataset.terms}{' (they hold for this file too)' if withheld(dataset.terms) else ''}")
    click.echo(options.out)
    return DONE
