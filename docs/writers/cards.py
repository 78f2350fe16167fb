"""The pages of the methods: one overview, and a card for each, from docstrings, settings and files of results."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from thresher import signals
from thresher.literature import METHODS, Method
from thresher.methods import resolve
from thresher.registry import make_scorer, scorers, selectors
from thresher.scorers._base import Scorer
from thresher.selectors._base import Rule, Selector
from thresher.settings.published import dataset_key
from writers import numbers
from writers.docstrings import Parts, parts
from writers.markdown import NOTE, table, text_block

_KEEPS = ("0.7", "0.5", "0.3", "0.2", "0.1")
_SETS: dict[tuple[str, str | None], str] = {
    ("cifar10", None): "CIFAR-10",
    ("cifar100", None): "CIFAR-100",
    ("imagenet", None): "ImageNet-1K",
    ("imagenet", "swin_t"): "ImageNet-1K, surrogate Swin-T",
    ("another", None): "any other",
}
"""Data set and recorded model; a model of its own is shown where that makes a difference."""


def overview() -> str:
    """Return the page of all methods."""
    rows = [[f"[{name}](methods/{name}.md)", method.title, _direction(method)] for name, method in METHODS.items()]
    needed = [[name, *_brief(method)] for name, method in METHODS.items()]
    return f"""{NOTE}
# Methods

A method is a scorer, which turns the recording into one number per sample, plus a selector, which keeps samples by that
number, with the settings published for both. [Choosing a method](choosing.md) says which to use; each card says
what it needs, what it costs and when it fails. `thresher methods NAME` prints formula, parameters, source and differences,
also of a selector.

{table(["method", "description", "keeps"], rows, left=3)}

What each needs at its default settings:

{table(["method", "minimum epochs", "evaluation pass", "features", "labels", "further scores"], needed, left=6)}

Parameters of both parts can follow the name after colons wherever a command takes methods: `tdds:window=5:at=10`,
`ccs:cutoff=0.2`. Any scorer works with any selector: `el2n:selector=stratified`. Some scorers, such as `correctness`, have
no method of their own; used as a method, they keep the hardest samples. `thresher methods` lists them, and
[your own](contributing.md#scorers-of-your-own-in-your-own-package).

```{{toctree}}
:hidden:

{chr(10).join(f"methods/{name}" for name in METHODS)}
```
"""


def _brief(method: Method) -> list[str]:
    """Return the needs that can be said in a word."""
    needs = dict(_needs(method, make_scorer(method.scorer_name, dict(method.scorer_params))))
    epochs = needs["epochs"].removeprefix("at least ").partition(";")[0]
    words = [needs[name].partition(",")[0] for name in ("evaluation pass", "features", "labels")]
    return [epochs, *("yes" if word.startswith(("one", "of")) else word for word in words), "yes" if method.aux else "no"]


def _direction(method: Method) -> str:
    return method.direction.removeprefix("keeps ")


def pages() -> dict[str, Callable[[], str]]:
    """Return what writes each card, by the name of its file."""
    return {f"methods/{name}.md": lambda method=method: card(method) for name, method in METHODS.items()}  # type: ignore[misc]


def card(method: Method) -> str:
    """Return the card of one method."""
    scorer = make_scorer(method.scorer_name, dict(method.scorer_params))
    selector = selectors()[method.selector_name]
    chosen = [parts(type(scorer)), parts(selector)]
    sections = {
        "What it needs": table(["", "needed"], _needs(method, scorer), left=2),
        "What it costs": table(["", "cost"], _cost(method, scorer, selector), left=2),
        "When it fails": "\n".join(f"* **{what}** fails {_lower(part.fails)}" for what, part in _named(method, chosen)),
        "Numbers": _numbers(method),
        "Settings": _settings(method),
        f"The scorer `{method.scorer_name}`": f"{chosen[0].summary}\n\n{chosen[0].body}",
        f"The selector `{method.selector_name}`": f"{chosen[1].summary}\n\n{chosen[1].body}",
        "Source and differences": _sources(method, chosen),
    }
    body = "\n\n".join(f"## {title}\n\n{text.strip()}" for title, text in sections.items() if text.strip())
    formula = f"\n\n{text_block(method.formula)}" if method.formula else ""
    first = f"**{_capital(method.title)}.** {method.computes} It {method.direction}.{formula}"
    return f"{NOTE}\n# {method.name}\n\n{first}\n\n{body}\n"


def _named(method: Method, chosen: list[Parts]) -> list[tuple[str, Parts]]:
    names = (f"The scorer `{method.scorer_name}`", f"The selector `{method.selector_name}`")
    return list(zip(names, chosen, strict=True))


def _needs(method: Method, scorer: Scorer) -> list[list[str]]:
    """Return what must have been recorded."""
    others = [make_scorer(*_spec(text)) for text in method.aux.values()]
    names = sorted({need for one in (scorer, *others) for need in one.needs})
    reads_features = scorer.by_class or bool({n.removeprefix(signals.EVAL_PREFIX) for n in names} & signals.FEATURE_SIGNALS)
    own = "none: selection reads no score" if method.name == "random" else "none"
    rows = [["signals", ", ".join(f"[`{name}`](../signals.md)" for name in names) or own]]
    epochs = max(one.min_epochs for one in (scorer, *others))
    rows.append(["epochs", "none" if not epochs else f"at least {epochs}{_published_length(method)}"])
    evaluated = any(name.startswith(signals.EVAL_PREFIX) for name in names) or scorer.by_class
    rows.append(["evaluation pass", "one, after the last epoch (evaluation mode, no augmentation)" if evaluated else "no"])
    rows.append(["features", "of the penultimate layer" if reads_features else "no"])
    labels = "yes" if any(_needs_labels(name) for name in names) or scorer.by_class or method.name == "auto" else "no"
    rows.append(["labels", labels])
    if method.aux:
        also = ", ".join(f"`{text}`" for text in method.aux.values())
        rows.append(["further scores", f"{also}, which `thresher score --method {method.name}` computes too"])
    return rows


def _spec(text: str) -> tuple[str, dict[str, str]]:
    name, *pairs = text.split(":")
    return name, dict(pair.split("=") for pair in pairs)


def _needs_labels(signal: str) -> bool:
    """Tell whether a signal cannot be computed without labels, by trying."""
    logits = np.zeros((1, 2), dtype=np.float32)
    outputs = signals.Outputs(logits, None, features=logits, previous=logits)
    try:
        signals.compute(outputs, [signal.removeprefix(signals.EVAL_PREFIX)])
    except (TypeError, IndexError, AttributeError):
        return True
    return False


def _published_length(method: Method) -> str:
    """Return the lengths that were published, where they are."""
    found = [resolve(method.name, name, keep, surrogate=model) for name, model in _SETS for keep in ("0.75", *_KEEPS)]
    lengths = sorted({one.at or one.scorer.params().get("epochs") for one in found} - {None})
    if not lengths:
        return ""
    return f"; published {lengths[0]}" + (f" to {lengths[-1]}" if len(lengths) > 1 else "")


def _cost(method: Method, scorer: Scorer, selector: type[Selector]) -> list[list[str]]:
    """Return what is kept for a sample while recording, what is read and what is held to select."""
    others = [make_scorer(*_spec(text)) for text in method.aux.values()]
    n = 1000
    state = sum(array.nbytes for one in (scorer, *others) for array in one.init(n).values()) // n
    names = {need for one in (scorer, *others) for need in one.needs}
    memory = "4 C + " if names & signals.REMEMBERING else ""
    live = f"{memory}{state + 4 * len(names):g} bytes per sample" if names else "nothing"
    if names:
        live += ", plus the 12 of any recording"
        live += "; the C term is half of that with 16-bit log-probabilities" if memory else ""
    rows = [["memory while recording", live]]
    trailing = scorer.trailing_epochs
    if names:
        read = "all recorded epochs" if trailing is None or method.aux else f"usually the last {trailing} epochs suffice"
        each = f"epoch; {read}" if any(not name.startswith(signals.EVAL_PREFIX) for name in names) else "evaluation pass"
        rows.append(["read from a recording", f"{4 * len(names)} bytes per sample and {each}"])
    if scorer.by_class:
        rows.append(["read from a recording", "the features, 4 D bytes per sample"])
    blocks = "any number of samples, block by block" if issubclass(selector, Rule) else "all scores in memory"
    rows.append(["selecting", blocks])
    rows.append(["trainings", "none" if method.name == "random" else "one surrogate, then one per coreset"])
    return rows


def _numbers(method: Method) -> str:
    """Return published and measured numbers."""
    found = numbers.published(method.name)
    random = numbers.published("random")
    text = ["Accuracy in percent; in brackets the gap to Random in the same setting."]
    if found:
        keeps = numbers.shares(list(found.values()))
        rows, remarks = [], []
        for setting, values in found.items():
            cells = []
            for keep in keeps:
                number = values.get(keep)
                other = random.get(setting, {}).get(keep)
                cells.append(_published(number.accuracy, other.accuracy if other else None, method) if number else "")
            doubts = {n.remark for n in values.values() if n.remark}
            remarks += [f"{setting.text}: {doubt}." for doubt in sorted(doubts)]
            rows.append([setting.text, *cells])
        head = ["published, by kept share", *(f"{keep:g}" for keep in keeps)]
        text += ["**Published** (TDDS supplementary, Tables 6 to 10; not measured by us):", table(head, rows)]
        text += [" ".join(remarks)] if remarks else []
    else:
        text.append("**Published:** not in the tables of the TDDS paper, the only ones that this package holds.")
    mine = [n for n in numbers.ours() if n.method == method.name]
    if not mine:
        return "\n\n".join([*text, "**Ours:** not yet in any results file."])
    mine.sort(key=lambda n: (n.data, n.change, n.model, -n.keep, _settings_of(n.label)))
    labelled = any(n.label != n.method for n in mine)
    named = ["ours, linked to the command", *(["method"] if labelled else [])]
    rows = [
        [
            f"[{_where(n)}](../results/{n.page})", *([f"`{n.label}`"] if labelled else []),
            f"{n.keep:g}", n.accuracy_text, n.gap_text, str(n.seeds), numbers.beside(n),
        ]
        for n in mine
    ]  # fmt: skip
    text += [
        "**Ours**, with the same budget for all methods within each setting (on CIFAR TDDS's loss is scaled by its score, "
        "no other's):",
        table([*named, "keep", "accuracy", "gap to Random", "seeds", "published, ResNet-18"], rows, left=len(named)),
        "Half-widths are those of 95 % intervals over the seeds (none with one seed). The published numbers are ResNet-18's "
        "after 200 epochs: beside `small` compare only the pattern of the gaps; beside ResNet-18 they are a target.",
    ]
    return "\n\n".join(text)


def _settings_of(label: str) -> tuple[int, list[int]]:
    """Return what sorts a method before its variants, and these by their numbers."""
    return label.count(":"), [int(number) for number in re.findall(r"\d+", label)]


def _where(number: numbers.Ours) -> str:
    """Return data set, what was done to it, and network."""
    network = numbers.NETWORKS.get(number.model, number.model)
    return ", ".join(p for p in (numbers.DATA[number.data], numbers.CHANGES[number.change], network) if p)


def _published(value: float, random: float | None, method: Method) -> str:
    return f"{value:.2f}" if random is None or method.name == "random" else f"{value:.2f} ({value - random:+.2f})"


def _settings(method: Method) -> str:
    """Return parameters with their defaults, and what is put in for a data set and a kept share."""
    fields = []
    for kind, cls, fixed in (
        ("scorer", scorers()[method.scorer_name], method.scorer_params),
        ("selector", selectors()[method.selector_name], method.selector_params),
    ):
        fields += [[f"`{f.name}`", kind, f"`{fixed.get(f.name, f.default)}`"] for f in dataclasses.fields(cls)]
    text = [table(["parameter", "part", "default"], fields, left=3)] if fields else ["No parameters."]
    if method.settings_text:
        text.append(f"Published: {method.settings_text}.")
    if method.settings is not None:
        found = {case: [_setting(method, *case, keep) for keep in _KEEPS] for case in _SETS}
        own = [case for case in _SETS if case[1] is None or found[case] != found[case[0], None]]
        rows = [[_SETS[case], *found[case]] for case in own if any(found[case])]
        text.append("Filled in by data set and kept share unless you say otherwise (the nearest published values):")
        text.append(table(["data", *(f"keep {keep}" for keep in _KEEPS)], rows))
    return "\n\n".join(text)


def _setting(method: Method, data: str, model: str | None, keep: str) -> str:
    assert method.settings is not None
    found = method.settings(dataset_key(data), Fraction(keep), model)
    values = {"at": found.at, **found.scorer, **found.selector}
    return ", ".join(f"{key}={value:g}" for key, value in values.items() if value is not None)


def _sources(method: Method, chosen: list[Parts]) -> str:
    first = [f"**Source:** {method.paper}."]
    first += [f"**Differences:** {method.differences}."] if method.differences else []
    more = []
    for what, part in _named(method, chosen):
        said = [part.source] if part.source else []
        said += [f"Differences from the official code: {part.differences}"] if part.differences else []
        more += [f"* {what}: {' '.join(said)}"] if said else []
    return "\n\n".join([*first, "\n".join(more)])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
