#!/usr/bin/env python3
"""Thresholds of the Mann-Whitney change-point model, by simulation: prints the table that src/analysis/change_point.rs embeds.

    python3 scripts/change-point-thresholds.py > src/analysis/change_point.csv
    python3 scripts/change-point-thresholds.py --check src/analysis/change_point.csv

The model: every night all splits of the series are judged by the standardised Mann-Whitney statistic, and the largest size of one is held
against a threshold h(t) of the number of nights t (Hawkins and Deng, Journal of Quality Technology 42, 2010; Ross, Journal of Statistical
Software 66(3), 2015). h(t) is such that a series without a change, and without an alarm before, alarms in night t with probability 1 / ARL0,
from night 15 on. ARL0 is thus the mean number of nights from one false alarm to the next.

How: ranks alone matter, and the rank of a new value among t is uniform over 1..t and independent of the past, whatever the distribution as
long as it is continuous; so ranks are drawn. In night t the threshold is put where as many of the simulated series are left as should be by
then: what one night loses to the few values that the statistic can take, the next makes up for. Series that alarmed are out. The statistic
of fewer than 40 nights takes so few values that its thresholds are left as they are; those of later nights are smoothed: each is replaced by
that of the line fitted to the nights within an eighth of it, which takes out the noise of the simulation.

Of more than 250 nights the latest 250 are judged. Windows that lose their oldest value are less alike than series that only grow: with the
threshold of 250 nights 1.5 to 1.6 times as many would alarm. The last line, 251, is the threshold of all series that long: the mean over as
many more nights.

--check draws other series, holds them against a table and prints, every ten nights, how many alarmed.

Needs numpy. Two million series, the default, take 600 MB and three minutes on one CPU; --check the same.
"""

import argparse

import numpy as np

FIRST = 15  # nights before which nothing is judged
LAST = 250  # the latest nights are judged, at most so many; ranks up to here fit in a byte
LEAST = 2  # values on either side of a split
ROUGH = 40  # nights below which thresholds are not smoothed
CHUNK = 16384  # series at a time: what is computed of them stays in the processor's cache


def take_night(ranks, night, random):
    """Adds a value to every series, in place of the oldest where the window is full; returns the rows of ranks, oldest first."""
    size = min(night, LAST)
    new = (night - 1) % LAST
    others = [(night - age) % LAST for age in range(size, 1, -1)]
    if night > LAST:
        gone = ranks[new].copy()
        for row in others:
            ranks[row] -= ranks[row] > gone
    ranks[new] = random.integers(1, size + 1, ranks.shape[1], dtype=np.uint8)
    for row in others:
        ranks[row] += ranks[row] >= ranks[new]
    return ranks[[*others, new]] if night > LAST else ranks[:size]


def largest(rows):
    """The largest standardised Mann-Whitney statistic over all splits, of each series."""
    size, series = rows.shape
    ranks_before = np.zeros(series, np.int16)
    scaled = np.empty(series, np.float32)
    best = np.zeros(series, np.float32)
    for before in range(1, size - LEAST + 1):
        ranks_before += rows[before - 1]
        if before < LEAST:
            continue
        after = size - before
        # Twice the statistic less its mean, in an order that 16 bits hold.
        distance = ranks_before - np.int16(before * (before + 1) // 2)
        distance += distance
        distance -= np.int16(before * after)
        np.abs(distance, out=distance)
        sd = np.sqrt(before * after * (size + 1) / 12)
        np.multiply(distance, np.float32(0.5 / sd), out=scaled)
        np.maximum(best, scaled, out=best)
    return best


def simulate(series, nights, seed):
    """Yields each night from the first that is judged, with the statistic of every series."""
    random = np.random.default_rng(seed)
    chunks = [np.zeros((LAST, CHUNK), np.uint8) for _ in range(-(-series // CHUNK))]
    for night in range(1, nights + 1):
        statistics = []
        for ranks in chunks:
            rows = take_night(ranks, night, random)
            if night >= FIRST:
                statistics.append(largest(rows))
        if statistics:
            yield night, np.concatenate(statistics)


def cut(statistics, surplus):
    """The threshold that closest to `surplus` of the statistics exceed, in the middle between two values that they take."""
    top = np.sort(statistics)[::-1][: 4 * surplus + 200]
    # Closer ones are one value, differently rounded.
    steps = np.flatnonzero(top[:-1] - top[1:] > 1e-5) + 1
    exceeding = steps[np.argmin(np.abs(steps - surplus))]
    return (float(top[exceeding - 1]) + float(top[exceeding])) / 2


def thresholds(arl, series, seed):
    """One for each night from the first that is judged to twice the last, as simulated."""
    alive = None
    found = []
    for night, statistics in simulate(series, 2 * LAST, seed):
        if alive is None:
            alive = np.ones(len(statistics), bool)
        due = len(alive) * (1 - 1 / arl) ** (night - FIRST + 1)
        found.append(cut(statistics[alive], max(round(alive.sum() - due), 1)))
        alive &= statistics <= found[-1]
    return np.array(found)


def smooth(found):
    """One for each night to the last, and one for all beyond."""
    nights = np.arange(FIRST, LAST + 1)
    found, beyond = found[: len(nights)], found[len(nights) :].mean()
    smoothed = found.copy()
    for night in range(ROUGH, LAST + 1):
        near = (np.abs(nights - night) <= night // 8) & (nights >= ROUGH)
        smoothed[night - FIRST] = np.polyval(np.polyfit(nights[near] - night, found[near], 1), 0)
    return [*smoothed, beyond]


def check(path, series, seed):
    """Prints, every ten nights, the share of series that alarmed so far and the rate of these ten nights."""
    table = dict(np.loadtxt(path, delimiter=",", skiprows=1, converters={0: int}))
    alive = None
    before = 1.0
    print("nights,alarmed,alarms_per_1000_nights")
    for night, statistics in simulate(series, 2 * LAST, seed):
        if alive is None:
            alive = np.ones(len(statistics), bool)
        alive &= statistics <= table[min(night, LAST + 1)]
        if (night - FIRST + 1) % 10 == 0:
            left = alive.mean()
            print(f"{night},{1 - left:.5f},{1000 * (1 - (left / before) ** 0.1):.3f}", flush=True)
            before = left


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--arl", type=float, default=1000, help="mean nights between false alarms (1000)")
    options.add_argument("--series", type=int, default=2_000_000, help="simulated series (2000000)")
    options.add_argument("--seed", type=int, help="of the random numbers (1; 2 for --check)")
    options.add_argument("--check", metavar="TABLE", help="try the thresholds of this table on other series")
    asked = options.parse_args()
    if asked.check:
        check(asked.check, asked.series, 2 if asked.seed is None else asked.seed)
        return
    print("nights,threshold")
    found = thresholds(asked.arl, asked.series, 1 if asked.seed is None else asked.seed)
    for night, threshold in enumerate(smooth(found), FIRST):
        print(f"{night},{threshold:.4f}")


if __name__ == "__main__":
    main()
