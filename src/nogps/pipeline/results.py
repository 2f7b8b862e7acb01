"""Print the results table of the last run, and where the page lies."""

from nogps.evaluate.protocol import Row
from nogps.pipeline import paths, run
from nogps.report.table import results_table


def main() -> None:
    """A table for the test fold and for each benchmark."""
    classes = run.read_metrics("cells")["classes"]
    for name, figures in run.read_metrics("eval").items():
        title = "test fold" if name == "test" else name
        rows = [Row.from_json(*each) for each in figures.items()]
        print(f"\n{title}, percent of photos within a distance, with 95 % intervals\n")
        print(results_table(rows))
        if classes == 2:
            told = ", ".join(f"{row.name} {row.hits['right_class']:.1f}" for row in rows)
            print(f"\nin the right one of the two classes, percent: {told}")
    print(f"\nThe page to look at: {paths.REPORT.resolve()}")
