"""Price paths and trading intensity of the practice market, a day at a time, on whole seconds.

Pure in (seed, symbol, day).  Log prices are a common factor plus a random walk of the symbol's
own, both with clustered volatility and bridged between keyed daily levels that revert slowly;
the `y` of a cointegrated pair follows its `x` instead (see `symbols`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from core.feed.practice.keyed import Floats, LruCache, exponentials, normals, stationary_ar1
from core.feed.practice.symbols import PAIRS, SYMBOLS, PairSpec

SECONDS = 86_400
_MINUTES = 1_440
_FACTOR_DAILY_VOL = 0.025
# Daily levels are a moving average over 256 keyed days with this decay: a half-life of 23 days
# keeps prices plausible for ever, and a day looks like a random walk.
_LEVEL_DECAY = 0.97
_LEVEL_SPAN = 256
_PAIR_BY_Y: dict[str, PairSpec] = {pair.y: pair for pair in PAIRS}


class PricePaths:
    """Log-price paths and arrival weights of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._cache = LruCache(24)  # day paths, 0.7 MB each
        self._small = LruCache(2_000)  # minute volatilities and level draws, up to 12 kB each

    def log_price(self, symbol: str, day: int) -> Floats:
        """Natural log of the mid price at seconds 0..86400 of `day` (86401 values)."""
        key = ("path", symbol, day)
        path: Floats = self._cache.get(key, lambda: self._log_price(symbol, day))
        return path

    def arrival_weights(self, symbol: str, day: int) -> Floats:
        """Positive weights of the day's 86400 seconds; trades are split in their proportion."""
        busy = self._minute_ar1("busy", symbol, day, half_life=8.0)[:-1]
        level = np.exp(0.7 * self._log_vol(symbol, day) + 0.45 * busy)
        # Squared exponentials: bursts of ten times the mean last a second, as on the exchange.
        burst = exponentials(self.seed, "arrival", symbol, day, SECONDS)
        weights: Floats = np.repeat(level, 60) * burst * burst
        return weights

    def _log_price(self, symbol: str, day: int) -> Floats:
        spec = SYMBOLS[symbol]
        base = math.log(spec.base_price)
        pair = _PAIR_BY_Y.get(symbol)
        if pair is not None:
            x_base = math.log(SYMBOLS[pair.x].base_price)
            x_path = self.log_price(pair.x, day) - x_base
            return base + pair.hedge_ratio * x_path + self._pair_spread(pair, day)
        own = self._bridged("own", symbol, day, spec.daily_vol, self._log_vol(symbol, day))
        path: Floats = base + spec.factor_beta * self._factor(day) + own
        return path

    def _factor(self, day: int) -> Floats:
        def make() -> Floats:
            log_vol = self._log_vol("", day)
            return self._bridged("factor", "", day, _FACTOR_DAILY_VOL, log_vol)

        path: Floats = self._cache.get(("factor", day), make)
        return path

    def _pair_spread(self, pair: PairSpec, day: int) -> Floats:
        def draw(of_day: int) -> Floats:
            return normals(self.seed, "pair", f"{pair.y}/{pair.x}", of_day, SECONDS)

        unit = stationary_ar1(draw, day, SECONDS, pair.half_life_min * 60.0)
        return unit * (pair.sigma_bps * 1e-4)

    def _log_vol(self, symbol: str, day: int) -> Floats:
        """Log volatility of the day's minutes: the market's own (symbol "") or one symbol's."""

        def make() -> Floats:
            slow = self._minute_ar1("vol", symbol, day, half_life=90.0)[:-1]
            if symbol:
                return self._log_vol("", day) * 0.8 + 0.3 * slow
            hours = np.arange(_MINUTES) / 60.0
            season = 0.25 * np.sin((hours - 9.0) * (2.0 * math.pi / 24.0))
            fast = self._minute_ar1("shock", symbol, day, half_life=6.0)[:-1]
            log_vol: Floats = season + 0.45 * slow + 0.3 * fast
            return log_vol

        path: Floats = self._small.get(("vol", symbol, day), make)
        return path

    def _minute_ar1(self, kind: str, symbol: str, day: int, half_life: float) -> Floats:
        def draw(of_day: int) -> Floats:
            return normals(self.seed, kind, symbol, of_day, _MINUTES)

        return stationary_ar1(draw, day, _MINUTES, half_life)

    def _bridged(
        self, kind: str, symbol: str, day: int, daily_vol: float, log_vol: Floats
    ) -> Floats:
        """A random walk over the day from its keyed level to the next day's, in log units."""
        vol = np.repeat(np.exp(log_vol), 60)
        variance = np.concatenate(([0.0], np.cumsum(vol * vol)))
        # The mean of exp(2h) over all days is near 1.6; a fixed divisor keeps busy days busy.
        scale = daily_vol / math.sqrt(SECONDS * 1.6)
        steps = normals(self.seed, kind, symbol, day, SECONDS) * (vol * scale)
        walk = np.concatenate(([0.0], np.cumsum(steps)))
        start = self._level(kind, symbol, day) * daily_vol
        end = self._level(kind, symbol, day + 1) * daily_vol
        # Bridging in proportion to the variance spent, not to time, keeps quiet hours quiet.
        path: Floats = start + walk + (variance / variance[-1]) * (end - start - walk[-1])
        return path

    def _level(self, kind: str, symbol: str, day: int) -> float:
        """The daily level in units of the daily volatility: sum of decay**k * e[day - k]."""

        def draws(block: int) -> NDArray[np.float64]:
            key = ("level", kind, symbol, block)
            values: Floats = self._small.get(
                key,
                lambda: normals(self.seed, f"level-{kind}", symbol, block, _LEVEL_SPAN),
            )
            return values

        block, offset = divmod(day, _LEVEL_SPAN)
        recent = draws(block)[: offset + 1][::-1]
        older = draws(block - 1)[offset + 1 :][::-1]
        innovations = np.concatenate((recent, older))
        return float(np.sum(innovations * _LEVEL_DECAY ** np.arange(_LEVEL_SPAN)))
