"""One rule's defect stays with that rule: the others are looked at and judged as ever."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from core.alerts.events import Event
from core.alerts.seen import Sight, Watched

logger = logging.getLogger(__name__)

Look: TypeAlias = Callable[[Sequence[Watched]], list[Sight]]
# A rule that failed is tried again after so long: what its bars did meanwhile is seen then.
AGAIN_S = 30.0


class Fence:
    """Calls what may fail; whatever does is logged once and becomes the rule's reason."""

    def __init__(self, judge: Callable[..., tuple[list[Event], bool]]) -> None:
        self._judge = judge
        self._not_before_s: dict[str, float] = {}
        self._told: dict[str, str] = {}

    def sights(self, look: Look, rules: Sequence[Watched]) -> list[Sight]:
        """Return what a look at the rules gives, without those that failed lately."""
        now_s = time.monotonic()
        well = [one for one in rules if self._not_before_s.get(one.kept.id, 0.0) <= now_s]
        return self._halved(look, well) if well else []

    def judged(self, sight: Sight, *, is_shown: bool) -> tuple[list[Event], bool]:
        """Return what `core.alerts.watch.judge` does of a sight."""
        before = sight.watched.standing
        try:
            return self._judge(sight, is_shown=is_shown)
        except Exception as error:
            sight.watched.standing = before
            return self._judge(self._failed(sight.watched, error), is_shown=is_shown)

    def _halved(self, look: Look, rules: Sequence[Watched]) -> list[Sight]:
        """Look; where that fails, look at each half: one defect costs but a few more looks."""
        before = [(one.looked_ms, one.own_reason) for one in rules]
        try:
            return look(rules)
        except Exception as error:
            for one, (looked_ms, own_reason) in zip(rules, before, strict=True):
                one.looked_ms, one.own_reason = looked_ms, own_reason
            if len(rules) == 1:
                return [self._failed(rules[0], error)]
        middle = len(rules) // 2
        return self._halved(look, rules[:middle]) + self._halved(look, rules[middle:])

    def _failed(self, watched: Watched, error: Exception) -> Sight:
        rule_id, standing = watched.kept.id, watched.standing
        reason = f"cannot be looked at: {type(error).__name__}: {error}"
        if self._told.get(rule_id) != reason:
            logger.error("the rule %r %s", watched.kept.name, reason, exc_info=error)
        self._told[rule_id] = reason
        self._not_before_s[rule_id] = time.monotonic() + AGAIN_S
        return Sight(watched, (), standing.value_at, standing.value, reason)
