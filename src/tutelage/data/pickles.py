"""Read the pickles that CIFAR is distributed in, without running any code in them.

A pickle is a program: it names functions, and ``pickle.load`` calls them. This reader implements only the few
operations that lists, dictionaries, strings, small integers and arrays of bytes need. It imports nothing, calls
nothing that a pickle names, and builds the arrays itself; anything else in the file is an error.
"""

from __future__ import annotations

import pickletools
from enum import Enum
from typing import TypeVar

import numpy as np

T = TypeVar("T")

MAX_OPERATIONS = 2_000_000  # a CIFAR-100 training batch has 260,000; this bounds memory and time
MAX_SHARED = 4096  # characters in a string that is used more than once; arrays are never shared


class _Global(Enum):
    """The only names a pickle may contain; they are markers for this reader, not the functions themselves."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    NEW_RECONSTRUCT = "numpy._core.multiarray._reconstruct"
    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    ENCODE = "_codecs.encode"


class _Object(Enum):
    """What a call to one of those names pushes on the stack, until the operation that sets its state."""

    ARRAY = "an array without content"
    BYTE_TYPE = "the dtype uint8"


_NO_EFFECT = {"PROTO", "FRAME"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("SHORT_BINSTRING", "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_PUT = {"BINPUT", "LONG_BINPUT"}
_GET = {"BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(data: bytes, where: str) -> dict[str, object]:
    """Read a pickled dictionary of plain values and uint8 arrays (protocols 2 to 4); Python 2 strings become ``str``.

    Errors: ``ValueError``, prefixed with ``where``, for a name other than those that arrays need, for an operation
    that plain values do not need, and for damaged or excessively long input.

    >>> import pickle
    >>> read_pickle(pickle.dumps({"labels": [1, 2]}, protocol=2), "example")
    {'labels': [1, 2]}
    >>> read_pickle(pickle.dumps({"labels": print}, protocol=2), "example")
    Traceback (most recent call last):
    ...
    ValueError: example: refused, its pickle names __builtin__.print, which an image dataset does not need
    """
    stack: list[object] = []
    marks: list[int] = []
    memo: dict[int, object] = {}
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPERATIONS:
                raise ValueError(f"more than {MAX_OPERATIONS} operations")
            _execute(operation.name, argument, stack, marks, memo)
        (result,) = stack
    except _Refused as error:
        raise ValueError(f"{where}: refused, its pickle {error}") from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{where}: damaged pickle ({type(error).__name__}: {str(error)[:200]})") from None
    if not isinstance(result, dict):
        raise ValueError(f"{where}: expected a pickled dictionary, not {type(result).__name__}")
    return result


class _Refused(Exception):
    """A pickle that asks for more than plain data; a ``ValueError`` means that it is damaged."""


def _execute(name: str, argument: object, stack: list[object], marks: list[int], memo: dict[int, object]) -> None:
    if name in _LITERALS:
        stack.append(argument)
    elif name in _PUT:
        assert isinstance(argument, int)
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in _GET:
        assert isinstance(argument, int)
        shared = memo[argument]
        if isinstance(shared, str | bytes) and len(shared) > MAX_SHARED:
            raise ValueError(f"uses a string of {len(shared)} characters twice")
        stack.append(shared)
    elif name == "MARK":
        marks.append(len(stack))
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name in _TUPLES:
        stack.append(tuple(_pop(stack, len(stack) - _TUPLES[name])))
    elif name == "TUPLE":
        stack.append(tuple(_pop(stack, marks.pop())))
    elif name in ("APPEND", "APPENDS"):
        items = _pop(stack, len(stack) - 1 if name == "APPEND" else marks.pop())
        _expect(list, stack[-1]).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = _pop(stack, len(stack) - 2 if name == "SETITEM" else marks.pop())
        entries = _expect(dict, stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            entries[_key(key)] = value
    elif name == "GLOBAL":
        stack.append(_global(str(argument).replace(" ", ".", 1)))
    elif name == "STACK_GLOBAL":
        module, attribute = _pop(stack, len(stack) - 2)
        stack.append(_global(f"{_expect(str, module)}.{_expect(str, attribute)}"))
    elif name == "REDUCE":
        function, arguments = _pop(stack, len(stack) - 2)
        stack.append(_reduce(function, _expect(tuple, arguments)))
    elif name == "BUILD":
        target, state = _pop(stack, len(stack) - 2)
        stack.append(_build(target, _expect(tuple, state)))
    elif name == "STOP":
        if marks:
            raise ValueError("ends inside a list")
    elif name not in _NO_EFFECT:
        operand = "" if argument is None else f" {str(argument)[:80]!r}"
        raise _Refused(f"contains the operation {name}{operand}, which an image dataset does not need")


def _pop(stack: list[object], start: int) -> list[object]:
    if not 0 <= start <= len(stack):
        raise IndexError("the stack is empty")
    items = stack[start:]
    del stack[start:]
    return items


def _expect(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, not a {type(value).__name__}")
    return value


def _key(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else _expect(str, key)


def _global(name: str) -> _Global:
    try:
        return _Global(name)
    except ValueError:
        raise _Refused(f"names {name[:80]}, which an image dataset does not need") from None


def _reduce(function: object, arguments: tuple[object, ...]) -> object:
    match function, arguments:
        case ((_Global.RECONSTRUCT | _Global.NEW_RECONSTRUCT), (_Global.NDARRAY, *_)):
            return _Object.ARRAY
        case _Global.DTYPE, (str(code), *_) if code in ("u1", "|u1"):
            return _Object.BYTE_TYPE
        case _Global.DTYPE, _:
            raise ValueError("an array of a type other than uint8")
        case _Global.ENCODE, (str(text), str(code)) if code in ("latin1", "latin-1"):
            return text.encode("latin-1")
    raise _Refused("calls something that is not part of an array")


def _build(target: object, state: tuple[object, ...]) -> object:
    match target, state:
        case _Object.BYTE_TYPE, _:
            return target
        case _Object.ARRAY, (_, tuple(shape), _Object.BYTE_TYPE, fortran, (str() | bytes()) as raw):
            content = raw.encode("latin-1") if isinstance(raw, str) else raw
            sizes = [_expect(int, size) for size in shape]
            if len(sizes) > 4 or min(sizes, default=0) < 0:
                raise ValueError(f"an array of shape {sizes}")
            return np.frombuffer(content, np.uint8).reshape(sizes, order="F" if fortran else "C")
    raise _Refused("sets the state of something that is not an array")
