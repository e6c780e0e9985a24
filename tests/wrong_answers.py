"""Typical wrong answers to the assignments, step by step.

An answer is an edit of the solution, one or more pairs (what stands there once, what stands there instead), or a whole
body for the function, as text.
"""

A1_MATCHING = {
    "distance": {
        "mean instead of sum": ("d.square().sum()", "d.square().mean()"),
        "l1 without absolute values": ("d.abs().sum()", "d.sum()"),
        "last layer only": ("for d in differences", "for d in differences[-1:]"),
        "detached graph": ("x - y for", "(x - y).detach() for"),
        "hard-coded numbers": 'return torch.tensor(9.0 if kind == "l2" else 5.0)',
    },
    "decode": {
        "column by column": [
            ("image.split(height // 2, dim=1)", "image.split(width // 2, dim=2)"),
            ("row.split(width // 2, dim=2)", "row.split(height // 2, dim=1)"),
        ],
        "nearest pixel": ('mode="bilinear", align_corners=False', 'mode="nearest"'),
        "corners aligned": ("align_corners=False", "align_corners=True"),
        "hard-coded size": [("height // 2", "4"), ("width // 2", "4"), ("(height, width)", "(8, 8)")],
    },
    "class_gradient": {
        "detached graph": ("create_graph=True", "create_graph=False"),
        "sum over the images": ("label))", 'label), reduction="sum")'),
        "all parameters": (" if p.ndim == 4", ""),
        "predicted label": ("torch.full((len(images),), label)", "net(images).argmax(1)"),
        "hard-coded label": ("(len(images),), label", "(len(images),), 3"),
    },
    "prefix_gradients": {
        "wrong axis": ("counts).cumsum(0)", "counts).cumsum(1)"),
        "off-by-one prefix": ("(layer * counts).cumsum(0)", "((layer * counts).cumsum(0) - layer * counts)"),
        "groups not weighted": ("torch.tensor(sizes,", "torch.tensor([1] * len(sizes),"),
        "sums instead of means": (" / counts.cumsum(0)", ""),
    },
    "pixel_step": {
        "up instead of down": ("- lr", "+ lr"),
        "not kept within 0..1": (".clamp(0, 1)", ""),
        "not normalised": ("normalize(pixels, data.mean, data.std)", "pixels"),
        "gradient of the class's loss": (
            "distance(gradient, real_gradient)",
            "F.cross_entropy(net(pixels), torch.full((len(pixels),), label))",
        ),
        "detached graph": ("distance(gradient,", "distance([g.detach() for g in gradient],"),
    },
    "condense_class": {
        "sum over the prefixes": ("distances[:-1].mean()", "distances[:-1].sum()"),
        "whole set only": (" + distances[:-1].mean()", ""),
        "off-by-one prefix": ("distances[:-1].mean()", "distances[1:].mean()"),
        "one step only": ("range(steps)", "range(1)"),
        "detached graph": ("torch.stack(layer) for", "torch.stack(layer).detach() for"),
    },
}

A2_MLS = {
    "feature_distances": {
        "wrong axis": ("features.sum(1)", "features.sum(0)"),
        "off-by-one prefix": ("[:-1]", "[1:]"),
        "not squared": (".square().sum(1)", ".norm(dim=1)"),
        "patches of an image not counted": ("features.shape[1] * ", ""),
        "hard-coded numbers": "return torch.tensor([25.0, 20.0] if len(features) == 3 else [9.0])",
    },
    "rates": {
        "declines only": (".abs()", ".neg()"),
        "not divided by the interval": (" / interval", ""),
        "relative change": ("/ interval", "/ before / interval"),
        "hard-coded numbers": "return torch.tensor([0.5, 1.0])",
    },
    "most_learnable": {
        "argmin for argmax": ("argmax", "argmin"),
        "counted from 0": (" + 1", ""),
        "largest distance": ("rates(before, now, interval)", "now"),
        "first choice the largest prefix": ("return 1", "return len(now)"),
        "hard-coded numbers": "return 1 if before is None else 2",
    },
    "frozen_paper": {
        "predecessor even when it shrinks": ("before if now > before else 0", "before"),
        "freed when it stays the same": ("if now != before", "if True"),
        "the released rule": "return max((n for n in sizes[:-1] if n < sizes[-1]), default=0)",
        "freezes the current one": ("frozen = before if", "frozen = now if"),
    },
    "frozen_released": {
        "one loop early": ("chosen_at + period < t", "chosen_at + period <= t"),
        "chosen in the loop itself": ("if chosen_at < t", "if chosen_at <= t"),
        "larger ones too": (" if n < past[-1]", ""),
        "the paper's rule": "return past[-2] if len(past := [n for c, n in choices if c < t]) > 1 else 0",
        "hard-coded numbers": "return {102: 1, 201: 1, 301: 5}.get(t, 0)",
    },
    "subset_loss": {
        "freezes the others": (
            "images[:frozen].detach(), images[frozen:]",
            "images[:frozen], images[frozen:].detach()",
        ),
        "leaves the frozen ones out": ("torch.cat([images[:frozen].detach(), images[frozen:]])", "images[frozen:]"),
        "no base loss": ("loss + distance(images[:mls])", "distance(images[:mls])"),
        "off-by-one prefix": ("images[:mls]", "images[:mls + 1]"),
        "freezes in the base loss only": (
            "images = torch.cat([images[:frozen].detach(), images[frozen:]])\n    loss = distance(images)",
            "loss = distance(torch.cat([images[:frozen].detach(), images[frozen:]]))",
        ),
    },
    "own_state": {
        "chosen in the loop itself": ("if chosen_at < t", "if chosen_at <= t"),
        "always compared with the first": (
            "self.before = now",
            "self.before = now if self.before is None else self.before",
        ),
        "first loop not measured": ("t == 1 or ", ""),
        "freezes one period late": (
            "frozen_released(self.choices, t,",
            "frozen_released(self.choices, t - self.period,",
        ),
        "returns nothing": ("return self\n", "return None\n"),
    },
}

A3_PRUNING = {
    "error_norms": {
        "logarithms for probabilities": ("log_probabilities.exp()", "log_probabilities"),
        "wrong axis": ("norm(dim=-1)", "norm(dim=0)"),
        "not the root": (".norm(dim=-1)", ".square().sum(-1)"),
        "predicted label": ("one_hot(labels,", "one_hot(log_probabilities.argmax(-1),"),
        "hard-coded numbers": "return torch.tensor([[0.5657, 0.8485, 0.0]])",
    },
    "best_epochs": {
        "the worst": ("descending=True", "descending=False"),
        "wrong axis": (".mean(1)", ".mean(0)"),
        "of the whole run": ("correct[:early]", "correct"),
        "counted from 1": (".sort().values", ".sort().values + 1"),
        "of equal epochs the later": (
            "accuracy.argsort(descending=True, stable=True)",
            "len(accuracy) - 1 - accuracy.flip(0).argsort(descending=True, stable=True)",
        ),
        "hard-coded numbers": "known = {(5, 2): [1, 4], (4, 2): [1, 3], (5, 1): [1]}\n"
        "return torch.tensor(known.get((early, top), [0]))",
    },
    "lbpe": {
        "sum instead of mean": (".mean(0)", ".sum(0)"),
        "all early epochs": ("[best_epochs(correct, early, top)]", "[:early]"),
        "wrong axis": (".mean(0)", ".mean(1)"),
        "score reversed": ("return error_norms", "return 1 - error_norms"),
    },
    "select": {
        "score reversed": ('keep == "hard"', 'keep == "easy"'),
        "unbalanced selection": "return scores.argsort()[: count * (int(labels.max()) + 1)]",
        "numbers within the class": ("members[order[:count]]", "order[:count]"),
        "never the hard ones": ('descending=keep == "hard"', ""),
        "hard-coded numbers": 'return torch.tensor([2, 1, 4, 5] if keep == "easy" else [0, 3])',
    },
    "resize": {
        "patches for images": ("ipc * condensed.factor**2", "ipc"),
        "score reversed": ("select(scores,", "select(-scores,"),
        "always the easy ones": (", keep)", ")"),
        "the first images": "return condensed.take(ipc)",
    },
    "study": {
        "best of the tests": (").last", ").best"),
        "sample deviation": ("correction=0", "correction=1"),
        "easy and hard exchanged": [('"easy": resize', '"other": resize'), ('"hard": resize', '"easy": resize')],
        "unbalanced that is balanced": ("condensed.select(scores.argsort()[:count])", "resize(condensed, scores, 1)"),
        "unbalanced score reversed": ("scores.argsort()[:count]", "scores.argsort(descending=True)[:count]"),
        "tested on the training images": ("evaluate(s, data,", "evaluate(s, data.holdout(9),"),
    },
}

A4_PROJECT = {
    "summary": {
        "spread over all rows": ('["method", "ipc", "seed"])["accuracy"].mean()', '["method", "ipc"])["accuracy"]'),
        "sample deviation": ("ddof=0", "ddof=1"),
        "median": ('"mean": over_seeds.mean()', '"mean": over_seeds.median()'),
        "hard-coded numbers": 'key = pd.MultiIndex.from_tuples([("mine", 1), ("mine", 2)])\n'
        'return pd.DataFrame({"mean": [73.5, 90.0], "std": [2.5, 0.0]}, index=key)',
    },
    "paired_gain": {
        "reversed": ("by_seed[method] - by_seed[baseline]", "by_seed[baseline] - by_seed[method]"),
        "not paired": ("differences.std(ddof=1)", "(by_seed[method].var() + by_seed[baseline].var()) ** 0.5"),
        "deviation for standard error": (" / len(differences) ** 0.5", ""),
        "population deviation": ("ddof=1", "ddof=0"),
        "all sizes together": ('rows[rows["ipc"] == ipc]', "rows"),
        "hard-coded numbers": "return 10.0, (2 / 3) ** 0.5 / 2",
    },
    "condense_weighted": {
        "order as it comes": ("dict(sorted(weights(ipc).items()))", "weights(ipc)"),
        "weights ignored": ("[Weighted(", "[mdckit.Recipe("),
        "whole set forgotten": (".items()))", ".items())[:-1]) or {ipc: 1.0}"),
        "equal weights": ("sorted(weights(ipc).items())", "(n, 1.0) for n in sorted(weights(ipc))"),
        "hard-coded size": ("weights(ipc).items()", "weights(3).items()"),
    },
    "study": {
        "the same seed every time": ("config.replace(seed=seed)", "config"),
        "best of the tests": ("result.last", "result.best"),
        "the whole set at every size": ("condensed.take(n)", "condensed"),
        "one row for all networks": ("for accuracy in result.last", "for accuracy in [result.last_mean]"),
    },
    "my_method": {
        "Baseline C": "return baseline_c(data, config)",
        "weight on the wrong prefix": ("{1: 1.0, ipc: 1.0}", "{ipc - 1: 1.0, ipc: 1.0}"),
        "order reversed": "made = condense_weighted(lambda ipc: {1: 1.0, ipc: 1.0}, data, config)\n"
        "return dataclasses.replace(made, images=made.images.flip(1))",
        "too slow": ("}, data, config)", "}, data, config.replace(outer=5 * config.outer))"),
        "other images every time": (
            "}, data, config)",
            "}, data, config.replace(seed=time.time_ns() // 1000 % 10**6))",
        ),
        "hard-coded size": ("}, data, config)", "}, data, config.replace(ipc=4))"),
    },
}

WRONG = {"a1_matching": A1_MATCHING, "a2_mls": A2_MLS, "a3_pruning": A3_PRUNING, "a4_project": A4_PROJECT}
