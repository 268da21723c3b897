"""Tomorrow's temperature and next year's passengers, with error bars: LSTM and GRU against naive forecasts.

Each net reads the past and gives three quantiles of each of the values ahead; what it should lie under half of the time
is the forecast, 5 % and 95 % are its error bars. The split is by time: fitted on the first years, stopped and its error
bars widened by validation years (conformalised quantile regression, Romano, Patterson and Candes 2019), tested once on
the last. Beside it stand "as now" and "as a season ago". Passengers grow and swing by shares, so the net is asked for
the logarithm of the growth over a year.
"""

from typing import NamedTuple

import numpy as np

import weft
from weft import nn, optim
from weft.data import airline_passengers, daily_temperatures
from weft.metrics import mae
from weft.random import Generator
from weft.recipes.example import Example, main

QUANTILES = (0.05, 0.5, 0.95)


class Problem(NamedTuple):
    """A series and how it is asked about: `scaled` (N,) is what the net sees and gives, from `values` (N,)."""

    name: str
    unit: str
    times: np.ndarray
    values: np.ndarray
    scaled: np.ndarray
    season: int  # steps until the same time of the year
    past: int  # steps that are read
    ahead: int  # steps that are forecast
    ends: tuple[int, int]  # where validation and test begin
    layer: type[nn.Module]
    growth: bool  # whether `scaled` is 10 log(value / value a season ago)

    def windows(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The last step that is read (n,), what is read (past, n, 3), what follows (n, ahead) in begin to end."""
        first = self.season * self.growth + self.past - 1
        now = np.arange(max(begin - 1, first), end - self.ahead)
        steps = now + np.arange(1 - self.past, 1)[:, None]  # (past, n)
        angle = 2 * np.pi * steps / self.season
        read = np.stack([self.scaled[steps], np.sin(angle), np.cos(angle)], axis=-1)
        return now, read.astype(np.float32), self.scaled[now[:, None] + np.arange(1, self.ahead + 1)].astype(np.float32)

    def unscale(self, scaled: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Forecasts (n, ahead, quantiles) in the unit of the values."""
        if not self.growth:
            return scaled * self.values[: self.ends[0]].std() + self.values[: self.ends[0]].mean()
        # A season ago is known of every step ahead: none is further away than a season.
        before = self.values[now[:, None] + np.arange(1, self.ahead + 1) - self.season]
        return before[:, :, None] * np.exp(scaled / 10)


def problems(example: Example) -> list[Problem]:
    days, months = daily_temperatures(example.data), airline_passengers(example.data)
    fitted = days.values[: 7 * 365]
    grown = np.zeros(len(months.values))
    grown[12:] = 10 * np.log(months.values[12:] / months.values[:-12])
    return [
        Problem(days.name, days.unit, days.times, days.values, (days.values - fitted.mean()) / fitted.std(),
                365, 30, 7, (7 * 365, 8 * 365), nn.LSTM, False),
        Problem(months.name, months.unit, months.times, months.values, grown, 12, 12, 12, (96, 120), nn.GRU, True),
    ]  # fmt: skip


class Net(nn.Module):
    """What is read (past, n, 3) -> quantiles of what follows (n, ahead, quantiles), in order."""

    def __init__(self, problem: Problem, width: int = 32):
        self.layer = problem.layer(3, width)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, problem.ahead * len(QUANTILES))
        self.ahead = problem.ahead

    def forward(self, read: weft.Tensor) -> weft.Tensor:
        outputs, _ = self.layer(read)
        numbers = self.head(self.dropout(outputs[-1])).reshape(-1, self.ahead, len(QUANTILES))
        middle, widths = numbers[:, :, 1:2], nn.functional.softplus(numbers[:, :, ::2])
        return weft.concat([middle - widths[:, :, :1], middle, middle + widths[:, :, 1:]], axis=-1)


def pinball(forecast: weft.Tensor, target: weft.Tensor) -> weft.Tensor:
    """The loss whose least expectation is at the quantiles (Koenker and Bassett, 1978)."""
    error = target[:, :, None] - forecast
    levels = weft.asarray(QUANTILES, dtype="float32")
    return weft.maximum(levels * error, (levels - 1) * error).mean()


def train(problem: Problem, rounds: int) -> Net:
    """A net fitted on the years before validation, as it was when validation liked it best."""
    net, (now, read, target) = Net(problem), problem.windows(0, problem.ends[0])
    _, read_later, target_later = problem.windows(*problem.ends)
    optimizer = optim.AdamW(net.parameters(), lr=0.005, weight_decay=0.01)
    rng, best, kept = Generator(0), np.inf, net.state_dict()
    for step in range(rounds):
        rows = rng.integers_array(0, len(now), 64)
        loss = pinball(net(weft.asarray(read[:, rows])), weft.asarray(target[rows]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 24:
            net.eval()
            with weft.no_grad():
                found = pinball(net(weft.asarray(read_later)), weft.asarray(target_later)).item()
            net.train()
            if found < best:
                best, kept = found, {name: value.copy() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return net.eval()


def quantiles(nets: list[Net], problem: Problem, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of the nets' quantiles (n, ahead, 3), what came (n, ahead), both scaled, and the last steps read."""
    now, read, target = problem.windows(begin, end)
    with weft.no_grad():
        return np.mean([net(weft.asarray(read)).numpy() for net in nets], axis=0), target, now


def widened(nets: list[Net], problem: Problem, forecast: np.ndarray) -> np.ndarray:
    """Error bars moved by as much as would have put 90 % of the validation values between them."""
    seen, target, _ = quantiles(nets, problem, *problem.ends)
    missed = np.maximum(seen[:, :, 0] - target, target - seen[:, :, 2])
    return forecast + np.array([-1, 0, 1], np.float32) * np.quantile(missed, 0.9)


def run(example: Example) -> None:
    rounds = example.choose(short=100, default=600)
    figure, axes = example.canvas(11, 3.8, 2)
    for problem, axis in zip(problems(example), axes):
        scores, coverage = [], []
        for seed in example.seeds():
            weft.random.seed(seed)
            nets = [train(problem, rounds) for _ in range(example.choose(short=1, default=3))]
            forecast, _, now = quantiles(nets, problem, problem.ends[1], len(problem.values))
            forecast = problem.unscale(widened(nets, problem, forecast), now)
            ahead = now[:, None] + np.arange(1, problem.ahead + 1)
            came = problem.values[ahead]
            scores.append(mae(came, forecast[:, :, 1]))
            coverage.append(100 * ((forecast[:, :, 0] <= came) & (came <= forecast[:, :, 2])).mean())
        naive = mae(came, np.broadcast_to(problem.values[now][:, None], came.shape))
        seasonal = mae(came, problem.values[ahead - problem.season])
        example.figure(
            f"mean error, {problem.name}, 1 to {problem.ahead} ahead", np.mean(scores), problem.unit,
            at_most=min(naive, seasonal), beside={"naive": naive, "seasonal naive": seasonal},
        )  # fmt: skip
        example.figure(f"within the 90 % error bars, {problem.name}", np.mean(coverage), "%", at_least=75)
        draw(axis, problem, forecast, now)
    example.picture(figure)


def draw(axis, problem: Problem, forecast: np.ndarray, now: np.ndarray) -> None:
    """The first forecasts of the test years, one after the other."""
    rows = np.arange(0, min(len(now), 84), problem.ahead)
    steps = (now[rows, None] + np.arange(1, problem.ahead + 1)).ravel()
    low, middle, high = forecast[rows].reshape(-1, 3).T
    before = np.arange(steps[0] - 2 * problem.ahead, steps[-1] + 1)
    axis.fill_between(problem.times[steps], low, high, color="#9ecae1", linewidth=0, label="90 % error bars")
    axis.plot(problem.times[before], problem.values[before], color="#222222", linewidth=1.2, label="came")
    axis.plot(problem.times[steps], middle, color="#2166ac", linewidth=1.4, label=f"{problem.ahead} ahead at a time")
    axis.set(title=problem.name, xlabel="date", ylabel=problem.unit)
    axis.tick_params(axis="x", rotation=30)
    axis.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    main(run)
