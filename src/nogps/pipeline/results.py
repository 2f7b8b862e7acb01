"""Print the results table of the last run, and where the page lies."""

from nogps.evaluate.protocol import Row
from nogps.pipeline import paths, run
from nogps.pipeline.params import Params
from nogps.report.report_page import results_table


def results(params: Params) -> None:
    """A table for the test fold and for each benchmark."""
    classes = run.read_metrics("cells")["classes"]
    for name, rows in run.read_metrics("eval").items():
        title = "test fold" if name == "test" else name
        print(f"\n{title}, percent of photos within a distance, with 95 % intervals\n")
        print(results_table([row(key, numbers) for key, numbers in rows.items()]))
        if classes == 2:
            told = (f"{key} {numbers['right_class']:.1f}" for key, numbers in rows.items())
            print(f"\nin the right one of the two classes, percent: {', '.join(told)}")
    print(f"\nThe page to look at: {paths.REPORT.resolve()}")


def row(name: str, numbers: dict) -> Row:
    """A row back from eval.json."""
    intervals = {key: tuple(ends) for key, ends in numbers["ci95"].items()}
    return Row(
        name,
        numbers["n"],
        {key: numbers[key] for key in intervals},
        intervals,
        numbers["median_km"],
        numbers["mean_km"],
        numbers["geoguessr"],
    )


if __name__ == "__main__":
    run.main(results, __doc__)
