"""One experiment, from data to a report: record, score, select, retrain over seeds, compare. `study` is `thresher run`.

The stages (`recording`, `scoring`, `jobs`) leave what they made in the run directory (`rundir`), `tables` turns results into
means and intervals, `reporting` into the report.
"""
