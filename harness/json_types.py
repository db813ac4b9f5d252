"""Whether a JSON value is of the type that an annotation promises, so that a file is checked once, where it is read."""

import sys
from inspect import formatannotation
from types import UnionType
from typing import Any, Union, get_args, get_origin

LARGEST = sys.float_info.max


def fits(value: Any, kind: Any) -> bool:
    """True where a value is of a type made of `str`, `int`, `float`, `bool`, `None`, `list`, `dict`, unions and `Any`.

    A bool is no int; an int does for a float, NaN and infinities do not.
    """
    if kind is Any:
        return True
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if kind is float:
        return type(value) in (int, float) and -LARGEST <= value <= LARGEST
    return type(value) is kind


def check_types(body: dict[str, Any], kinds: dict[str, Any], where: str = "") -> None:
    """Check the fields that are there.

    Args:
        body: Name -> value.
        kinds: Name -> type.
        where: Before the names, for the message.

    Raises:
        TypeError: Names the first field of another type, and its type.
    """
    if not isinstance(body, dict):
        raise TypeError(f"{where or 'it'} is no object")
    for name, kind in kinds.items():
        if name in body and not fits(body[name], kind):
            raise TypeError(f"{where}{name} is no {formatannotation(kind)}")
