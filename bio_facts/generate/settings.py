"""Settings: what a dataclass field says about itself, declared once as `Annotated[int, Setting("...", minimum=1)]`.

The checks of configs, the flags of bio-facts, the fields of the `datasets` builder and the table in the dataset card are all
derived from these declarations.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bio_facts.checks import check_integer, check_number


@dataclass(frozen=True)
class Setting:
    """One documented field of a config or a distribution.

    help: its meaning, in one phrase. minimum, maximum: inclusive bounds of an integer or a number; None: no bound.
    type, is_optional: what the field holds (int, float, Mapping, ...) and whether it may be None; filled in by settings_of.
    """

    help: str
    minimum: int = 0
    maximum: int | None = None
    type: Any = None
    is_optional: bool = False

    def check(self, name: str, value: Any) -> Any:
        """`value` as a plain int or float; values of other types are returned as they are.

        Raises:
            ValueError: if an integer or a number is out of bounds or of another type.
        """
        if value is None and self.is_optional:
            return None
        if self.type is int:
            return check_integer(name, value, self.minimum, self.maximum)
        if self.type is float:
            assert self.maximum is not None, f"{name} is a number without a maximum"
            return check_number(name, value, self.minimum, self.maximum)
        return value


def settings_of(cls: type[Any]) -> Mapping[str, Setting]:
    """Field name -> Setting, for the fields of a dataclass that declare one, in order of declaration."""
    return _settings_of(cls)  # type: ignore[arg-type]  # mypy takes the __hash__ of instances for that of the class


@functools.cache
def _settings_of(cls: type[Any]) -> Mapping[str, Setting]:
    hints = typing.get_type_hints(cls, include_extras=True)
    declared = {}
    for field in dataclasses.fields(cls):
        for setting in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(setting, Setting):
                declared[field.name] = _with_type(setting, typing.get_args(hints[field.name])[0])
    return MappingProxyType(declared)


def _with_type(setting: Setting, annotation: Any) -> Setting:
    alternatives = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    (held,) = (item for item in alternatives if item is not types.NoneType)
    return dataclasses.replace(setting, type=typing.get_origin(held) or held, is_optional=len(alternatives) > 1)


def check_settings(instance: Any) -> None:
    """Check all settings of a frozen dataclass instance, and store integers and numbers as plain int and float.

    Raises:
        ValueError: naming the first field whose value is out of bounds or of another type.
    """
    for name, setting in settings_of(type(instance)).items():
        object.__setattr__(instance, name, setting.check(name, getattr(instance, name)))
