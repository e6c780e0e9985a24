"""The settings of each dataset, where they differ from the defaults: those of the papers, and quick ones."""

_GREY = {"distance": "l1", "lr": 1e-4, "net_images": 500}
_QUICK = {"width": 32, "outer": 20, "inner": 10, "period": 5, "net_images": 256, "lr": 0.2}
_QUICK_GREY = _QUICK | {  # chosen on held-out training images of mnist5k
    "factor": 1,
    "outer": 60,
    "distance": "l1",
    "lr": 0.01,
    "batch_real": 32,
    "net_images": 128,
    "reference_size": 28,
}
_AP = {"network": "resnet10_ap", "width": 64}
CONDENSE_PRESETS = {
    "paper": {
        "cifar10": {},
        "cifar100": {},
        "svhn": {"net_images": 500},
        "mnist": _GREY | {"reference_size": 28},
        "mnist5k": _GREY | {"reference_size": 28},
        "fashion-mnist": _GREY,
        "imagenet10": {
            "factor": 3,
            "outer": 500,
            "period": 50,
            "distance": "l1",
            "lr": 3e-3,
            "reference_size": 224,
            "net_images": 500,
            "net_cutmix": 1.0,
            "pretrain": 10,
        }
        | _AP,
    },
    "quick": {
        "cifar10": _QUICK,
        "cifar100": _QUICK,
        "svhn": _QUICK,
        "mnist": _QUICK_GREY,
        "mnist5k": _QUICK_GREY,
        "fashion-mnist": _QUICK_GREY,
        "imagenet10": _QUICK | {"factor": 3, "reference_size": 224, "network": "resnet10_ap", "width": 16},
        "digits": _QUICK_GREY | {"outer": 10, "period": 2, "lr": 0.001, "reference_size": 8},
    },
}
_ANY = "color|crop|cutout|flip|scale|rotate"  # DSA: exactly one of them at a time
_ON_SET = {  # learning rates of normalised pixels
    "factor": 1,
    "distance": "cosine",
    "outer": 1000,
    "lr": 0.1,
    "batch_real": 256,
    "net_images": 500,
    "net_batch": 256,
    "net_momentum": 0.0,
    "net_weight_decay": 0.0,
    "net_cutmix": 0.0,
    "pretrain": 0,
}
_METHODS = {
    "dream": {"batch_real": 128, "pretrain": 0},
    "dc": _ON_SET | {"augment": "", "net_augment": ""},
    "dsa": _ON_SET | {"augment": _ANY, "net_augment": _ANY},
    "dm": {"factor": 1, "distance": "features", "outer": 20_000, "inner": 1, "lr": 1.0, "batch_real": 256}
    | {"augment": _ANY, "period": 1000, "pretrain": 0},
}
_QUICK_ON_SET = {"outer": 60, "period": 5, "batch_real": 64, "net_images": 100}
METHOD_PRESETS = {  # on top of those of the dataset; quick learning rates chosen on held-out images of mnist5k
    "paper": _METHODS,
    "quick": {
        "dream": {},
        "dc": _METHODS["dc"] | _QUICK_ON_SET | {"lr": 10.0},
        "dsa": _METHODS["dsa"] | _QUICK_ON_SET | {"lr": 1.0},
        "dm": _METHODS["dm"] | {"outer": 1000, "period": 50, "batch_real": 64, "lr": 10.0},
    },
}
EPOCHS_ON_SET = {1: 1, 10: 50, 20: 25, 30: 20, 40: 15, 50: 10}  # DC and DSA: of a network on a set of so many a class
DIGITS = ("svhn", "mnist", "mnist5k", "digits")  # data sets in which a flipped image is none of the class
_NO_FLIP = {"augment": "color_crop_scale_rotate"}
_NO_CUTMIX = {"cutmix": 0.0}  # MNIST at the paper's factor 2
TRAIN_METHOD_PRESETS = {  # on top of those of the dataset: the sets of these methods are tested as they were made
    "dc": {"augment": "flip_crop", "cutmix": 0.0},
    "dsa": {"augment": "flip_color_crop_scale_rotate_cutout", "cutmix": 0.0},
}
TRAIN_METHOD_PRESETS["dm"] = TRAIN_METHOD_PRESETS["dsa"]
_SHORT = {"epochs": 100, "width": 32}
TRAIN_PRESETS = {
    "paper": {
        "cifar10": {},
        "cifar100": {},
        "svhn": _NO_FLIP,
        "mnist": _NO_FLIP | _NO_CUTMIX,
        "mnist5k": _NO_FLIP | _NO_CUTMIX,
        "fashion-mnist": {},
        "imagenet10": {
            "augment": "zoom_flip_jitter_lighting",
            "cutmix": 1.0,
            "network": "resnet10_ap",
            "width": 64,
        },
    },
    "quick": {
        "cifar10": _SHORT,
        "cifar100": _SHORT,
        "svhn": _SHORT | _NO_FLIP,
        "mnist": _SHORT | _NO_FLIP,
        "mnist5k": _SHORT | _NO_FLIP,
        "fashion-mnist": _SHORT,
        "imagenet10": _SHORT | {"network": "resnet10_ap", "width": 16, "cutmix": 1.0},
        "digits": _SHORT | _NO_FLIP,
    },
}
