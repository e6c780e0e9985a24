"""Literal second implementations of the scores and selections: patch by patch, in Python's own floats.

They follow the papers and share no code with `mdckit`. Arguments are nested lists, such as ``log.tolist()`` of the half
precision probabilities, which Python's floats hold exactly: p[e][i][j] is that of class j for patch i in epoch e.
"""

import math
from fractions import Fraction


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(values):
    return math.fsum(values) / len(values)


def mean_point(points):
    return [mean(column) for column in zip(*points, strict=True)]


# --- scores over training dynamics


def error_norm(p, label):
    """s_e(i) of YOCO Eq. 2."""
    return distance(p, [1.0 if j == label else 0.0 for j in range(len(p))])


def best_epochs(correct, epochs, top):
    """The epochs with the most patches right, one after the other; the earlier of two equal ones."""
    chosen = []
    for _ in range(top):
        best = None
        for e in range(epochs):
            if e not in chosen and (best is None or sum(correct[e]) > sum(correct[best])):
                best = e
        chosen.append(best)
    return sorted(chosen)


def lbpe(p, correct, labels, epochs, top):
    chosen = best_epochs(correct, epochs, top)
    return [mean([error_norm(p[e][i], y) for e in chosen]) for i, y in enumerate(labels)]


def el2n(p, labels, epochs):
    return [mean([error_norm(p[e][i], y) for e in range(epochs)]) for i, y in enumerate(labels)]


def forgetting(correct):
    """A patch starts out as wrong; every epoch in which it is wrong and was right the epoch before counts."""
    counts = []
    for i in range(len(correct[0])):
        before, events = False, 0
        for epoch in correct:
            events += before and not epoch[i]
            before = epoch[i]
        counts.append(events)
    return counts


def aum(p, labels):
    def margin(row, label):
        return row[label] - max(value for j, value in enumerate(row) if j != label)

    return [mean([margin(epoch[i], y) for epoch in p]) for i, y in enumerate(labels)]


def entropy(p):
    return [-math.fsum(value * math.log(value + 1e-10) for value in row) for row in p]


def moderate(features, labels):
    """|nearer - farther| / 2, where patches of the class are compared by distance to its mean, then by index."""
    values = []
    for i, y in enumerate(labels):
        members = [j for j, label in enumerate(labels) if label == y]
        middle = mean_point([features[j] for j in members])
        keys = {j: (distance(features[j], middle), j) for j in members}
        nearer = sum(keys[j] < keys[i] for j in members)
        farther = sum(keys[j] > keys[i] for j in members)
        values.append(abs(nearer - farther) / 2)
    return values


def herding(features, labels):
    """The turn in which each patch is chosen: argmin over the free of |(k + 1) mean - running sum - phi(x)|."""
    turns = [None] * len(labels)
    for y in set(labels):
        members = [j for j, label in enumerate(labels) if label == y]
        middle, chosen = mean_point([features[j] for j in members]), []
        while len(chosen) < len(members):
            best = None
            for j in members:
                if j in chosen:
                    continue
                running = [math.fsum(features[i][d] for i in chosen) for d in range(len(middle))]
                target = [(len(chosen) + 1) * m - r for m, r in zip(middle, running, strict=True)]
                gap = distance(target, features[j])
                if best is None or gap < best[0]:
                    best = gap, j
            turns[best[1]] = len(chosen)
            chosen.append(best[1])
    return turns


def memorization(runs):
    """From (inside, right) of every network, two lists over the patches: P[right | in] - P[right | out]."""
    values = []
    for i in range(len(runs[0][0])):
        within = [right[i] for inside, right in runs if inside[i]]
        without = [right[i] for inside, right in runs if not inside[i]]
        values.append(float(mean(within) - mean(without)) if within and without else 0.0)
    return values


# --- from scores to patches


def ranked(values, high_first):
    """Patch numbers from one end of the values to the other; of equal values the lower number first."""
    left, order = list(range(len(values))), []
    while left:
        best = left[0]
        for i in left[1:]:
            if values[i] > values[best] if high_first else values[i] < values[best]:
                best = i
        order.append(best)
        left.remove(best)
    return order


def strata(values, count, number=50):
    """CCS: the stratum of every value, and how many of each stratum {stratum: patches} are to be taken.

    Equally wide strata over [min, 1.0001 max]; those with the fewest first take at most an equal part of what is left.
    """
    low, high = min(values), 1.0001 * max(values)
    stratum = [min(int((value - low) / (high - low) * number), number - 1) for value in values]
    budgets, left = {}, count
    waiting = list(range(number))
    while waiting:
        smallest = min(waiting, key=lambda s: (stratum.count(s), s))
        budgets[smallest] = min(stratum.count(smallest), math.floor(Fraction(left, len(waiting))))
        left -= budgets[smallest]
        waiting.remove(smallest)
    return stratum, budgets


def nearest(centres, points):
    """SSP: for one centre after the other the nearest point not yet taken; of equal ones the first."""
    taken = []
    for centre in centres:
        best = None
        for i, point in enumerate(points):
            if i in taken:
                continue
            if best is None or distance(centre, point) < distance(centre, points[best]) - 1e-9:
                best = i
        taken.append(best)
    return taken


def cells(images, factor):
    """The tiles of stored images (n, C, H, W) with sides that `factor` divides: image by image, row by row."""
    side = images.shape[-1] // factor
    return [
        image[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
        for image in images
        for row in range(factor)
        for column in range(factor)
    ]
