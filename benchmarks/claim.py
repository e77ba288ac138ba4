"""What may be claimed of `hybrid` over several data sets. Run: python benchmarks/claim.py STUDY ...

Each STUDY is what `jaxrec run --seeds N --run STUDY` made of one data set. One family of tests is
stated in advance: P, R and NDCG at `-k` x the other rows that a study has measured x the studies.
Holm's p is over all of it. Leads are shares of the other row's mean; intervals and p are of users
and splits drawn anew (`jaxrec.evaluation.significance.Crossed`); `in the splits` are the least and
the greatest lead. Recall on the tail stands beside them with its hits, outside the family, its p
corrected within the study.
"""

from dataclasses import replace
from pathlib import Path

import click
from harness import report
from rich.console import Console

from jaxrec.errors import InputError
from jaxrec.evaluation.card import Summary, data_name
from jaxrec.evaluation.significance import COMPARED, in_one_family
from jaxrec.experiment.study import runs_of, summarise
from jaxrec.report.summary import LEAD, lead_cells
from jaxrec.report.tables import table_of_rows


def as_one_family(studies: list[Summary], k: int) -> list[Summary]:
    """The same studies with p of `COMPARED` at `k` corrected over all of them."""
    names = {f"{metric}@{k}" for metric in COMPARED}
    each = {
        f"{number} {name}": rows
        for number, study in enumerate(studies)
        for name, rows in (study.against or {}).items()
        if name in names
    }
    family = in_one_family(each)
    return [
        replace(
            study,
            against={
                name: family.get(f"{number} {name}", rows)
                for name, rows in (study.against or {}).items()
            },
        )
        for number, study in enumerate(studies)
    ]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-k", type=int, default=25, show_default=True, help="Cut-off.")
def main(paths: tuple[Path, ...], k: int) -> None:
    try:
        studies = as_one_family([summarise(runs_of(path)) for path in paths], k)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    shown = table_of_rows("leads of hybrid", LEAD)
    shown.columns[0].header = "over"
    console, tests, sure = Console(width=120), 0, 0
    for study in studies:
        for name in (*COMPARED, "tail_recall"):
            rows = (study.against or {}).get(f"{name}@{k}", {})
            shown.add_row(f"{data_name(study.data, study.synthetic)}, {name}@{k}", style="bold")
            for row, lead in rows.items():
                shown.add_row(f"  {row}", *lead_cells(study, f"{name}@{k}", row))
                if name in COMPARED:
                    tests, sure = tests + 1, sure + (lead.p_holm < 0.05 and lead.difference > 0)
    console.print(shown)
    report("tests in which hybrid leads, Holm's p below 0.05", sure, tests, "all tests", "tests")


if __name__ == "__main__":
    main()
