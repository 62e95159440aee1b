"""A backtest as one would write it on paper: a plain loop, bar by bar, no arrays; the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from core.backtest import BacktestSettings, Leg, Market, Signals


@dataclass
class Trade:
    side: int
    decided: int
    size_y: float
    size_x: float
    entry_s: int
    # leg, signed size, price before slippage, price paid, fee, epoch seconds
    fills: list[tuple[str, float, float, float, float, int]] = field(default_factory=list)
    funding: float = 0.0
    reason: str = "open"
    exit_s: int | None = None

    def net(self, mark: dict[str, float]) -> float:
        cash = sum(-size * paid - fee for _, size, _, paid, fee, _ in self.fills)
        held = {"y": 0.0, "x": 0.0}
        for leg, size, *_ in self.fills:
            held[leg] += size
        return cash + sum(held[leg] * mark[leg] for leg in held) + self.funding


def first_bar(leg: Leg, at_s: int) -> int | None:
    for i, start in enumerate(leg.start_s.tolist()):
        if start >= at_s:
            return i
    return None


def paid_price(
    leg: Leg, bar: int, close: float, sign: int, tick: float, s: BacktestSettings
) -> tuple[float, float]:
    how = s.execution
    if how.is_maker:
        return close, close
    reference = float(leg.vwap[bar] if how.fill == "vwap" else leg.open[bar])
    slip = {
        "bps": reference * how.slippage / 1e4,
        "ticks": how.slippage * tick,
        "range": how.slippage * float(leg.high[bar] - leg.low[bar]),
    }[how.slippage_kind]
    return reference, reference + sign * max(slip, how.least_ticks * tick)


def down(size: float, step: float) -> float:
    return math.floor(size / step * (1 + 1e-12)) * step if step else size


class Reference:
    def __init__(
        self, market: Market, signals: Signals, settings: BacktestSettings, known_from: int = 30
    ) -> None:
        self.m, self.g, self.s, self.known_from = market, signals, settings, known_from
        self.trades: list[Trade] = []
        self.equity: list[float] = []

    def fill(self, trade: Trade, leg: str, bar: int, size: float, row: int) -> None:
        data, closes, contract = (
            (self.m.y, self.m.close_y, self.s.contract_y)
            if leg == "y"
            else (self.m.x, self.m.close_x, self.s.contract_x)
        )
        sign = (size > 0) - (size < 0)
        reference, paid = paid_price(
            data, bar, float(closes[row]), sign, contract.tick_size, self.s
        )
        fee = abs(size) * paid * self.s.execution.fee_bps / 1e4
        trade.fills.append((leg, size, reference, paid, fee, int(data.start_s[bar])))

    def gross(self, row: int) -> float:
        money = self.s.money
        most = money.capital * money.leverage
        if money.sizing != "volatility":
            return most
        yearly = self.share(row) * math.sqrt(365 * 86_400 / self.m.bar_s)
        return min(money.capital * money.target_volatility / yearly, most)

    def share(self, row: int) -> float:
        """The deviation that z counts in, as a share of y's price."""
        sigma = float(self.g.sigma[row])
        return sigma if self.g.is_log else sigma / float(self.m.close_y[row])

    def pays(self, row: int) -> bool:
        """Whether what the trades so far made of their promises pays for another round trip."""
        how, gate = self.s.execution, self.s.money.gate
        if gate is None or len(self.trades) < self.known_from:
            return True
        promised = realised = 0.0
        for trade in self.trades:
            promised += abs(float(self.g.zscore[trade.decided])) * self.share(trade.decided)
            beta = float(self.g.beta[trade.decided])
            y, x = (
                [reference for leg, _, reference, *_ in trade.fills if leg == name]
                for name in ("y", "x")
            )
            e = beta if self.g.is_log else beta * x[0] / y[0]
            realised += trade.side * ((y[-1] / y[0] - 1) - e * (x[-1] / x[0] - 1))
        at = int(self.m.start_s[row]) + self.m.bar_s
        cost = 0.0
        beta = float(self.g.beta[row])
        ratio = float(self.m.close_x[row] / self.m.close_y[row])
        e = abs(beta if self.g.is_log else beta * ratio)
        for leg, contract, weight in (
            (self.m.y, self.s.contract_y, 1.0),
            (self.m.x, self.s.contract_x, e),
        ):
            bar = [i for i, start in enumerate(leg.start_s.tolist()) if start < at][-1]
            close = float(leg.close[bar])
            slip = {
                "bps": close * how.slippage / 1e4,
                "ticks": how.slippage * contract.tick_size,
                "range": how.slippage * float(leg.high[bar] - leg.low[bar]),
            }[how.slippage_kind]
            slip = 0.0 if how.is_maker else max(slip, how.least_ticks * contract.tick_size)
            cost += 2 * weight * (how.fee_bps / 1e4 + slip / close)
        if promised <= 0:
            return True
        expected = realised / promised * abs(float(self.g.zscore[row])) * self.share(row)
        return expected > gate * cost

    def entry(self, row: int, side: int) -> tuple[float, float, int, int] | None:
        m, s = self.m, self.s
        at = int(m.start_s[row]) + m.bar_s
        i, j = first_bar(m.y, at), first_bar(m.x, at)
        if i is None or j is None:
            return None
        filled = max(int(m.y.start_s[i]), int(m.x.start_s[j]))
        if not any(start >= filled for start in m.start_s.tolist()):
            return None
        beta = float(self.g.beta[row])
        if math.isnan(beta):
            return None
        tick_y, tick_x = s.contract_y.tick_size, s.contract_x.tick_size
        sign = (beta > 0) - (beta < 0)
        _, fy = paid_price(m.y, i, float(m.close_y[row]), side, tick_y, s)
        _, fx = paid_price(m.x, j, float(m.close_x[row]), -side * sign, tick_x, s)
        e = beta if self.g.is_log else beta * fx / fy
        if not s.money.lowest_beta <= e <= s.money.highest_beta:
            return None
        if abs(int(m.y.start_s[i]) - int(m.x.start_s[j])) > s.execution.apart_bars * m.bar_s:
            return None
        if fy <= 0 or fx <= 0:
            return None
        if s.money.sizing == "dollar":
            e = 1.0
        n = self.gross(row) / (1 + abs(e))
        qy = down(n / fy, s.contract_y.step_size)
        qx = down(n * abs(e) / fx, s.contract_x.step_size)
        for q, f, least in (
            (qy, fy, s.contract_y.min_notional),
            (qx, fx, s.contract_x.min_notional),
        ):
            if q * f < max(least, 1e-300):
                return None
        return side * qy, -side * qx, i, j

    def run(self) -> Reference:
        m, g, s = self.m, self.g, self.s
        rules = s.rules
        n = m.rows
        trade: Trade | None = None
        ready_from, held_from = 0, n
        must_come_back_from: int | None = None
        for t in range(n):
            z = float(g.zscore[t])
            if must_come_back_from is not None and t >= must_come_back_from:
                if abs(z) < rules.enter:
                    must_come_back_from = None
            if trade is not None and trade.reason == "open" and t >= held_from:
                why = self.leaves(trade, z, t, held_from)
                if why:
                    at = int(m.start_s[t]) + m.bar_s
                    i, j = first_bar(m.y, at), first_bar(m.x, at)
                    if i is None or j is None:
                        break
                    done = max(int(m.y.start_s[i]), int(m.x.start_s[j]))
                    rows = [r for r in range(n) if int(m.start_s[r]) >= done]
                    if not rows:
                        break
                    self.rebalance_until(trade, held_from, t)
                    for leg, bar in (("y", i), ("x", j)):
                        held = sum(size for one, size, *_ in trade.fills if one == leg)
                        self.fill(trade, leg, bar, -held, t)
                    trade.reason, trade.exit_s = why, done
                    self.exits(trade, int(m.y.start_s[i]), int(m.x.start_s[j]))
                    ready_from = rows[0] + rules.cooldown_bars
                    if why == "stop" or rules.reentry == "cross":
                        must_come_back_from = t
                        if abs(z) < rules.enter:
                            must_come_back_from = None
                    trade = None
                    continue
            if trade is None and t >= ready_from and must_come_back_from is None:
                side = 1 if z < -rules.enter else -1 if z > rules.enter else 0
                if not side or (rules.sides, side) in (("long", -1), ("short", 1)):
                    continue
                found = self.entry(t, side)
                if found is None or not self.pays(t):
                    continue
                qy, qx, i, j = found
                entry_s = max(int(m.y.start_s[i]), int(m.x.start_s[j]))
                trade = Trade(side, t, qy, qx, entry_s)
                self.times = {"y": int(m.y.start_s[i]), "x": int(m.x.start_s[j])}
                self.fill(trade, "y", i, qy, t)
                self.fill(trade, "x", j, qx, t)
                self.trades.append(trade)
                held_from = next(r for r in range(n) if int(m.start_s[r]) >= entry_s)
        if trade is not None:
            self.rebalance_until(trade, held_from, n)
            last = int(m.start_s[-1]) + m.bar_s
            self.exits(trade, last, last)
        return self

    def leaves(self, trade: Trade, z: float, t: int, held_from: int) -> str:
        rules, d = self.s.rules, trade.side
        if (d > 0 and z >= -rules.exit) or (d < 0 and z <= rules.exit):
            return "exit"
        if rules.stop is not None and -d * z > rules.stop:
            return "stop"
        start = int(self.m.start_s[held_from])
        limits = [] if rules.time_stop_bars is None else [rules.time_stop_bars]
        if (count := rules.time_stop_half_lives) is not None:
            assert self.g.half_life is not None
            life = float(self.g.half_life[trade.decided])
            usable = not math.isnan(life) and not math.isinf(life)
            limits.append(max(1, math.ceil(count * life)) if usable else self.g.window_bars)
        if limits and int(self.m.start_s[t]) >= start + min(limits) * self.m.bar_s:
            return "time stop"
        return ""

    def rebalance_until(self, trade: Trade, held_from: int, end: int) -> None:
        m, s, every = self.m, self.s, self.s.rules.rebalance_bars
        if every is None:
            return
        for row in range(held_from + every, end, every):
            at = int(m.start_s[row]) + m.bar_s
            i, j = first_bar(m.y, at), first_bar(m.x, at)
            if i is None or j is None:
                continue
            done = max(int(m.y.start_s[i]), int(m.x.start_s[j]))
            if not any(int(start) >= done for start in m.start_s):
                continue
            beta = float(self.g.beta[row])
            ratio = float(m.close_y[row] / m.close_x[row])
            e = beta if self.g.is_log else beta / ratio
            if not s.money.lowest_beta <= e <= s.money.highest_beta:
                continue
            factor = ratio if self.g.is_log else 1.0
            target = down(abs(beta * factor * trade.size_y), s.contract_x.step_size)
            held = abs(sum(size for leg, size, *_ in trade.fills if leg == "x"))
            change = target - held
            if abs(change) * float(m.close_x[row]) <= max(s.contract_x.min_notional, 1e-12):
                continue
            self.fill(trade, "x", j, math.copysign(change, trade.size_x * change), row)

    def exits(self, trade: Trade, exit_y: int, exit_x: int) -> None:
        """Book the funding between entry and exit, on what was held before each settlement."""
        m = self.m
        last = int(m.start_s[-1]) + m.bar_s
        for leg, rates, out, closes in (
            ("y", m.funding_y, exit_y, m.close_y),
            ("x", m.funding_x, exit_x, m.close_x),
        ):
            for at, rate, mark in zip(
                rates.at_s.tolist(), rates.rate.tolist(), rates.mark.tolist(), strict=True
            ):
                if self.times[leg] < at <= min(out, last):
                    price = mark
                    if math.isnan(mark):
                        before = [r for r in range(m.rows) if int(m.start_s[r]) + m.bar_s <= at]
                        price = float(closes[before[-1]])
                    held = sum(
                        size for one, size, *_, done in trade.fills if one == leg and done < at
                    )
                    trade.funding += -held * price * rate
