"""Discovers scorers and selectors: one file each in their packages, named after the scorer or selector.

Installed packages can add more by entry points, in the groups `thresher.scorers` and `thresher.selectors`.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from thresher.errors import InputError, MissingPackageError, UnknownNameError, nearest
from thresher.literature import METHODS
from thresher.named import Named
from thresher.scorers._base import Scorer
from thresher.selectors._base import Selector
from thresher.types import HardEnd

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T", bound=Named)
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Room(Mapping[str, type[T]]):
    """Classes of one kind by name: Thresher's own, one per file, then those added by installed packages.

    A file is imported when its name is looked up, so that a broken one does not affect others; packages are searched if a
    name is not one of Thresher's own, or if all are listed. A look-up raises MissingPackageError for what cannot be
    imported, InputError for what is not of the kind, or is added by two packages.
    """

    def __init__(self, group: str, base: type[T]) -> None:
        self.group, self.base, self.kind = group, base, base.__name__.lower()
        self._known: dict[str, type[T]] = {}

    @cached_property
    def _files(self) -> list[str]:
        infos = pkgutil.iter_modules(import_module(self.group).__path__)
        return sorted(info.name for info in infos if not info.name.startswith("_"))

    @cached_property
    def _points(self) -> list[EntryPoint]:
        from importlib.metadata import entry_points  # reads every installed package, which takes its time

        return sorted(set(entry_points(group=self.group)), key=lambda point: (point.name, point.value))

    @cached_property
    def _brought(self) -> dict[str, list[EntryPoint]]:
        return {p.name: [q for q in self._points if q.name == p.name] for p in self._points if not self._taken(p.name)}

    def _taken(self, name: str) -> bool:
        return name in self._files or (self.kind == "scorer" and name in METHODS)

    @property
    def refused(self) -> list[str]:
        """A sentence on every plug-in whose name is one of Thresher's own."""
        return [
            f"The {self.kind} {p.name} ({_owner(p)}) is ignored, since Thresher has one of that name. Rename it there."
            for p in self._points
            if self._taken(p.name)
        ]

    def __iter__(self) -> Iterator[str]:
        yield from self._files
        yield from self._brought

    def __len__(self) -> int:
        return len(self._files) + len(self._brought)

    def __contains__(self, name: object) -> bool:
        return name in self._files or name in self._brought

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._known:
            if name in self._files:
                self._known[name] = self._of_house(name)
            elif name in self._brought:
                self._known[name] = self._of_package(name)
            else:
                raise KeyError(name)
        return self._known[name]

    def _of_house(self, name: str) -> type[T]:
        where = f"{self.group}.{name}"
        module = self._imported(name, where, lambda: import_module(where))
        own = [v for v in vars(module).values() if getattr(v, "__module__", "") == where and is_a(v, self.base)]
        return self._checked(name, where, own[-1] if own else None)

    def _of_package(self, name: str) -> type[T]:
        point, *others = self._brought[name]
        if others:
            owners = " and ".join(map(_owner, self._brought[name]))
            raise InputError(f"Expected one {self.kind} named {name}, but got those of {owners}. Uninstall all but one.")
        found = self._checked(name, _owner(point), self._imported(name, _owner(point), point.load))
        if found.__module__.rpartition(".")[2] != name:  # the name that scores and coresets will carry
            raise InputError(
                f"Expected the {self.kind} {name} ({_owner(point)}) in a file {name}.py, since it is named after its file, "
                f"but it is in {found.__module__}. Rename the file or the entry point."
            )
        return found

    def _imported(self, name: str, where: str, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except Exception as error:
            raise MissingPackageError(
                f"The {self.kind} {name} ({where}) cannot be imported: {type(error).__name__}: {error}. Fix or remove it."
            ) from error

    def _checked(self, name: str, where: str, found: Any) -> type[T]:
        fault = fault_of(found, self.base)
        if fault:
            raise InputError(
                f"Expected the {self.kind} {name} ({where}) to be a frozen dataclass that extends {self.base.__name__}, but "
                f"{fault}. Run thresher.testing.check_{self.kind} on it."
            )
        cls: type[T] = found
        return cls


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name if point.dist else 'a package'}, {point.value}"


def is_a(value: Any, base: type) -> bool:
    """Return whether `value` is a class below `base`."""
    return inspect.isclass(value) and issubclass(value, base)


def fault_of(cls: Any, base: type) -> str:
    """Return what prevents `cls` from being created by name, as a scorer or selector (`base`) is; "" if nothing does.

    >>> fault_of(scorers()["tdds"], Scorer), fault_of(int, Scorer)
    ('', 'it is no class that extends Scorer')
    """
    if not is_a(cls, base):
        return f"it is no class that extends {base.__name__}"
    if "__dataclass_params__" not in vars(cls):
        return "it lacks @dataclass(frozen=True), without which its fields are not parameters"
    if inspect.isabstract(cls):
        return f"it does not define {', '.join(sorted(cls.__abstractmethods__))}"
    bare = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]
    if bare:
        return f"its parameter {bare[0]} has no default"
    try:
        typing.get_type_hints(cls)
    except Exception as error:  # whatever stands there is evaluated
        return f"the types of its parameters cannot be resolved: {type(error).__name__}: {error}"
    if issubclass(cls, Scorer) and getattr(cls, "hard_end", None) not in ("high", "low"):
        return "it does not say which end is hard: hard_end must be 'high' or 'low'"
    return ""


@cache
def scorers() -> Room[Scorer]:
    """Return every scorer class by name, those of installed packages last; see `Room` for what a look-up raises.

    >>> sorted(scorers())[:2]
    ['aum', 'class_distance']
    """
    return Room("thresher.scorers", Scorer)  # type: ignore[type-abstract]


def usual_end(column: str) -> HardEnd:
    """Return the hard end of a score column that does not record it: that of the scorer it is named after, else "high".

    >>> usual_end("aum[T=30]"), usual_end("correctness"), usual_end("my_score")
    ('low', 'low', 'high')
    """
    scorer = scorers().get(column.partition("[")[0])
    return "high" if scorer is None else scorer.hard_end


@cache
def selectors() -> Room[Selector]:
    """Return every selector class by name, as `scorers` does.

    >>> sorted(selectors())[:2]
    ['beta', 'learnable']
    """
    return Room("thresher.selectors", Selector)  # type: ignore[type-abstract]


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Return name and overrides of `name[:key=value[:key=value...]]`. Raises InputError for anything else.

    >>> parse_spec("tdds:window=5:at=10")
    ('tdds', {'window': '5', 'at': '10'})
    """
    if not isinstance(text, str):
        raise InputError(f"Expected a method by its name, such as 'tdds' or 'tdds:window=5:at=10', but got {text!r}.")
    name, *pairs = text.split(":")
    overrides: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value) or key in overrides:
            raise InputError(f"Expected a method such as tdds or tdds:window=5:at=10, but got {text!r}.")
        overrides[key] = value
    return name.strip(), overrides


def make_scorer(name: str, params: Mapping[str, Any] | None = None) -> Scorer:
    """Return the scorer `name` with `params`, whose values may be strings as typed on a command line.

    Raises UnknownNameError for an unknown name, InputError for an unknown parameter or an invalid value, and what a look-up
    in a `Room` raises.

    >>> make_scorer("tdds", {"window": "5"})
    TDDS(window=5, decay=0.9, absolute=True, spread='norm')
    """
    return build("scorer", scorers(), name, params or {})


def make_selector(name: str, params: Mapping[str, Any] | None = None) -> Selector:
    """Return the selector `name` with `params`, as `make_scorer` does."""
    return build("selector", selectors(), name, params or {})


def build(kind: str, known: Mapping[str, type[T]], name: str, params: Mapping[str, Any]) -> T:
    """Return the dataclass `name` of those `known`, with `params`, whose values may be strings.

    `kind` is what it is called in errors. Raises what `make_scorer` does.
    """
    if name not in known:
        raise UnknownNameError(f"Expected a {kind}, one of {', '.join(known)}, but got {name!r}{nearest(name, known)}.")
    cls = known[name]
    types = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(params) - set(fields))
    if unknown:
        has = f"its parameters are {', '.join(fields)}" if fields else "it has none"
        raise InputError(f"The {kind} {name} has no parameter {', '.join(unknown)}; {has}.")
    return cls(**{key: _convert(name, key, value, types[key]) for key, value in params.items()})


def _convert(name: str, key: str, value: Any, wanted: Any) -> Any:
    """Return `value` as the type of the field, or raise InputError."""
    choices = typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else None
    if choices is not None:
        if value not in choices:
            raise InputError(f"Expected {name}'s {key} to be one of {', '.join(map(str, choices))}, but got {value!r}.")
        return value
    if wanted is str and isinstance(value, str):
        return value
    if wanted not in (bool, int, float, str):
        raise InputError(
            f"{name}'s {key} cannot be given as text, since its type is {wanted}. Omit it; its author can "
            "make it bool, int, float, str or a Literal of strings."
        )
    try:
        if wanted is bool:
            return value if isinstance(value, bool) else _WORDS[str(value).lower()]
        if wanted is int and not isinstance(value, bool):
            return int(value) if isinstance(value, str) or value == int(value) else _refuse()
        if wanted is float and not isinstance(value, bool):
            return float(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    raise InputError(f"Expected {name}'s {key} as {getattr(wanted, '__name__', wanted)}, but got {value!r}.")


def _refuse() -> typing.NoReturn:
    raise ValueError
