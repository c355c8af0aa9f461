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

from bio_facts.checks import check_choice, check_integer, check_number


@dataclass(frozen=True)
class Setting:
    """One documented field of a config or a distribution.

    help: its meaning, in one phrase. minimum, maximum: inclusive bounds of an integer or a number; None: no bound.
    omit_default: leave the field out of the parameters of a config where it has its default; for fields that were added after
    the first configs were published, whose fingerprints stay the same that way.
    type, is_optional: what the field holds (int, float, Mapping, ...) and whether it may be None; choices: the allowed strings
    of a field that is annotated as Literal[...], which has type str. Filled in by settings_of.
    """

    help: str
    minimum: int = 0
    maximum: int | None = None
    type: Any = None
    is_optional: bool = False
    choices: tuple[str, ...] = ()
    omit_default: bool = False

    def check(self, name: str, value: Any) -> Any:
        """`value` as a plain int, float or string; values of other types are returned as they are.

        Raises:
            ValueError: if an integer or a number is out of bounds or of another type, or a string is not one of the choices.
        """
        if value is None and self.is_optional:
            return None
        if self.type is int:
            return check_integer(name, value, self.minimum, self.maximum)
        if self.type is float:
            assert self.maximum is not None, f"{name} is a number without a maximum"
            return check_number(name, value, self.minimum, self.maximum)
        if self.choices:
            return check_choice(name, value, self.choices)
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
    origin, is_optional = typing.get_origin(held) or held, len(alternatives) > 1
    if origin is typing.Literal:
        return dataclasses.replace(setting, type=str, choices=typing.get_args(held), is_optional=is_optional)
    return dataclasses.replace(setting, type=origin, is_optional=is_optional)


def check_settings(instance: Any) -> None:
    """Check all settings of a frozen dataclass instance, and store integers, numbers and choices as plain int, float and str.

    Raises:
        ValueError: naming the first field whose value is out of bounds or of another type, or not one of its choices.
    """
    for name, setting in settings_of(type(instance)).items():
        object.__setattr__(instance, name, setting.check(name, getattr(instance, name)))


def parameters_of(instance: Any) -> dict[str, Any]:
    """Field name -> value of a dataclass instance, without the fields that have the default that their Setting omits."""
    settings = settings_of(type(instance))
    values = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    defaults = {field.name: field.default for field in dataclasses.fields(instance) if settings[field.name].omit_default}
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
