"""What is collected: the groups of a suite, and what listing their tests finds."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ._test import Test


@frozen(kw_only=True)
class Group:
    """A named part of the suite, as configured.

    Attributes:
        filters: words for the framework's own selection.
        select: ids, paths or path prefixes that narrow this run further; empty for everything.
    """

    name: str
    retries: int = 0
    individual: bool = False
    filters: tuple[str, ...] = ()
    select: tuple[str, ...] = ()

    def test(self, id: str, path: str, *, affinity: str = "", number: int = 0, **where: Any) -> Test:
        """A test of this group, as a framework has found it.

        Args:
            affinity: by default the path.
            where: `file` and `line`, when known.
        """
        return Test(
            key=f"{self.name.replace(':', '::')}:{number}:{id}",  # no two groups have a beginning in common
            id=id,
            group=self.name,
            path=path,
            affinity=affinity or path,
            retries=self.retries,
            individual=self.individual,
            number=number,
            **where,
        )


@frozen(kw_only=True)
class CollectionFailed:
    """A module that could not be collected: one result named after it, in state `error`."""

    path: str
    message: str
    details: str = ""


@frozen(kw_only=True)
class CollectionSkipped:
    """A module that skipped itself while it was collected: one result named after it, in state `skipped`."""

    path: str
    message: str


Discovered = Test | CollectionFailed | CollectionSkipped


@frozen(kw_only=True)
class Collection:
    """What a session is opened for.

    Attributes:
        groups: the tests that it will be given are of these groups, and of no others.
        listing: whether it also lists them, by `Collected` events. Only where `Framework.sessions_list`.
    """

    groups: tuple[Group, ...]
    listing: bool = False
