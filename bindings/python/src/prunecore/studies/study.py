# SPDX-License-Identifier: Apache-2.0
"""What studies have in common: points by removal and method, and their file."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason
from prunecore.errors import ArgumentError, FormatError

if TYPE_CHECKING:
    from typing_extensions import Self


class StudyPoint(Protocol):
    """A dataclass: what one method gave at one number of removals."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def granularity(self) -> str: ...
    @property
    def n_removed(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def removed(self) -> tuple[str, ...]: ...


Point = TypeVar("Point", bound=StudyPoint)


class Study(LoadedResult, Generic[Point]):
    """The base of a study, which is a dataclass of numbers, `points` and `provenance`.

    Attributes
    ----------
    format, noun : str
        What its files say that they are, and what errors call it.
    point : type
        Of its points.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    format: ClassVar[str]
    noun: ClassVar[str]
    point: ClassVar[type[Any]]
    points: tuple[Point, ...]
    provenance: dict[str, Any]

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the points."""
        return list(dict.fromkeys(point.method for point in self.points))

    @property
    def removals(self) -> list[tuple[str, int]]:
        """What was removed, in order: granularity and number."""
        return list(dict.fromkeys((point.granularity, point.n_removed) for point in self.points))

    def at(self, granularity: str, n_removed: int, method: str) -> Point:
        """The point of a removal and a method. Raises `ArgumentError` if there is none."""
        wanted = granularity, n_removed, method
        for point in self.points:
            if (point.granularity, point.n_removed, point.method) == wanted:
                return point
        raise ArgumentError(f"the study has no {method} with {n_removed} of {granularity} removed")

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON values."""
        return {
            "format": self.format,
            "version": 1,
            **{name: getattr(self, name) for name in self._numbers()},
            "points": [{**asdict(point), "removed": list(point.removed)} for point in self.points],
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads a study from what `to_dict` gives."""
        check_format(record, cls.format, cls.noun, f"a {cls.noun}")
        try:
            points = tuple(
                cls.point(**{**point, "removed": tuple(point["removed"])})
                for point in record["points"]
            )
            numbers = (float(record[name]) for name in cls._numbers())
            make: Any = cls  # a dataclass, with the fields that it adds
            made: Self = make(*numbers, points, dict(record.get("provenance", {})))
        except DAMAGE as error:
            raise FormatError(f"a damaged {cls.noun}: {reason(error)}") from error
        return made

    @classmethod
    def _numbers(cls) -> list[str]:
        return [one.name for one in fields(cls) if one.name not in ("points", "provenance")]
