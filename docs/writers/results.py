"""All of our numbers on one page, from the files that the commands left under docs/results."""

from __future__ import annotations

import re
from itertools import groupby

from writers import numbers
from writers.markdown import NOTE, table


def page() -> str:
    """Return the page: a table for each data set and network, best first at each kept share."""
    sections = []
    ranked = sorted(numbers.ours(), key=lambda n: (n.data, n.change, n.model, n.page, -n.keep))
    for page_name, mine in groupby(sorted(ranked, key=lambda n: n.page), key=lambda n: n.page):
        title = re.search(r"^# (.+)$", (numbers.RESULTS / page_name).read_text(), re.MULTILINE)
        sections.append(f"## {title[1] if title else page_name}\n\n[Command, seeds, hardware and versions]({page_name}).")
        for (data, change, model), group in groupby(mine, key=lambda n: (n.data, n.change, n.model)):
            what = ", ".join(text for text in (numbers.DATA[data], numbers.CHANGES[change], f"`{model}`") if text)
            lines = sorted(group, key=lambda n: (-n.keep, -n.mean, n.label))
            rows = [
                [f"`{n.label}`", f"{n.keep:g}", n.accuracy_text, n.gap_text, str(n.seeds), numbers.beside(n)] for n in lines
            ]
            head = ["method", "keep", "accuracy", "gap to Random", "seeds", "published, ResNet-18"]
            sections.append(f"**{what}**\n\n{table(head, rows)}")
    body = "\n\n".join(sections)
    return f"""{NOTE}
# Every number by data set

Accuracies in percent with 95 % intervals over the seeds (none with one seed), and gaps to Random, paired by seed. The
surrogate has the same seed throughout: how much another one would change is in no interval. The last column is what was
published for ResNet-18 after 200 epochs, in brackets its gap to Random: a target to compare with, not measured by us.

{body}
"""
