"""Checks of what users give, and errors that name it: arguments, command lines, packages that are not installed."""

import argparse
import difflib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_seed(name: str, seed: object) -> int:
    """Return `seed` if it is an integer of at least 0; ValueError naming `name` and the value otherwise."""
    return check_integer(name, seed, minimum=0)


def check_integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as int if it is an integer within the bounds; ValueError naming it otherwise. True is not 1 here."""
    wanted = f"an integer of at least {minimum:,}" if maximum is None else f"an integer from {minimum:,} to {maximum:,}"
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or int(value) < minimum or (maximum is not None and int(value) > maximum):  # type: ignore[call-overload]
        raise ValueError(f"{name} is {value!r}; it must be {wanted}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def check_indices(name: str, indices: ArrayLike, end: int | None = None) -> NDArray[np.int64]:
    """`indices` as int64 [n] if they are integers from 0 to end - 1 (None: no end); ValueError naming the first that is not."""
    given = np.atleast_1d(np.asarray(indices))
    last = np.iinfo(np.int64).max if end is None else end - 1
    if given.size and (given.dtype.kind not in "iu" or given.ndim != 1):
        raise ValueError(f"{name} is {indices!r}; it must be integers, one or a sequence of them")
    wrong = given[(given < 0) | (given > last)]
    if wrong.size:
        raise ValueError(f"{name} is {wrong[0]}; it must be an integer from 0 to {last:,}")
    return given.astype(np.int64)


def check_number(name: str, value: object, minimum: float, maximum: float) -> float:
    """`value` as float if it is a number from minimum to maximum; ValueError naming it otherwise."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not minimum <= value <= maximum:  # type: ignore[operator]
        raise ValueError(f"{name} is {value!r}; it must be a number from {minimum:g} to {maximum:,g}")
    return float(value) + 0.0  # type: ignore[arg-type]  # no -0.0, which would have a fingerprint of its own


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """`value` as str if it is one of `choices`; ValueError naming it otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}{did_you_mean(value, choices)}")
    return str(value)


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """The end of an error about an unknown name: a question about the most similar of `names`, "" if none is similar."""
    near = difflib.get_close_matches(value, list(names), n=1) if isinstance(value, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


class MissingExtraError(ImportError, ValueError):
    """A package of an extra is missing. A ValueError too: what command lines report in one line, with exit code 2."""


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around imports of packages of `extra`, for `what` the user asked for: `with needs("hub", "push"): import datasets`.

    Raises:
        MissingExtraError: in place of an ImportError; says `pip install "bio-facts[extra]"`, and which import failed.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(f'{what} needs pip install "bio-facts[{extra}]": {reason}', name=error.name) from error


def exit_with_error(error: object, code: int = 2) -> NoReturn:
    """End the program with an exit code and one line on stderr, which names the script.

    `python -X dev` also prints the traceback of the exception that is being handled, in case it comes from a bug.
    """
    if sys.flags.dev_mode and sys.exception() is not None:
        traceback.print_exc()
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}\n")
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    """Reports an error in one line with exit code 2, and accepts dashes and underscores alike in the names of flags."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As that of ArgumentParser, which every way of parsing calls. Arguments after `--` are left as they are."""
        arguments = list(sys.argv[1:] if args is None else args)
        end = arguments.index("--") if "--" in arguments else len(arguments)
        return super().parse_known_args([*map(self._declared_spelling, arguments[:end]), *arguments[end:]], namespace)

    def _declared_spelling(self, argument: str) -> str:
        """`--some_flag=value` as `--some-flag=value` if that is how this parser declares it, or the other way round."""
        flag, equals, value = argument.partition("=")
        if not flag.startswith("--") or flag in self._option_string_actions:
            return argument
        dashed = flag.replace("_", "-")
        spellings = (declared for declared in self._option_string_actions if declared.replace("_", "-") == dashed)
        return next(spellings, flag) + equals + value


def whole_number(name: str, minimum: int = 0) -> Callable[[str], int]:
    """How to read an integer of at least `minimum` from the command line."""

    def parse(text: str) -> int:
        try:
            return check_integer(name, int(text), minimum=minimum)
        except ValueError:
            raise argparse.ArgumentTypeError(f"it is {text!r}; it must be an integer of at least {minimum}") from None

    return parse
