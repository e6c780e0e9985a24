"""The Python lines that read each export, as its README.md has them: they run where the export lies.

`name` is the name of the exported folder.
"""

import json

from ..condensed import CondensedSet


def with_datasets(condensed: CondensedSet, name: str) -> str:
    """For a parquet folder: S[n] by its ranks, then ready to train on."""
    n = _some(condensed)
    return f"""\
Beside this folder, or anywhere with the Hub's name of it in place of `{_quoted(name)}`, S[{n}] is

```python
from datasets import load_dataset

small = load_dataset({_quoted(name)}, split="train").filter(lambda rank: rank < {n}, input_columns="rank")
```

with pictures as Pillow reads them; normalised, for a DataLoader, it is

```python
import torch
from torchvision.transforms import v2

ready = v2.Compose([{_transforms(condensed)}])
train = small.with_transform(lambda rows: rows | {{"image": [ready(picture) for picture in rows["image"]]}})
```

{_with_mdckit(n, name)}"""


def with_torchvision(condensed: CondensedSet, name: str) -> str:
    """For an image folder: S[n] by the file names, normalised."""
    n = _some(condensed)
    transforms = _transforms(condensed)
    if condensed.images.shape[2] == 1:
        transforms = f"v2.Grayscale(), {transforms}"  # ImageFolder reads all files as RGB
    empty = ", allow_empty=True" if 0 in condensed.patches_per_class else ""
    return f"""\
Beside this folder, S[{n}] is

```python
from pathlib import Path

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

ready = v2.Compose([{transforms}])
train = ImageFolder({_quoted(name)}, ready, is_valid_file=lambda file: int(Path(file).stem.split("_")[0]) < {n}{empty})
```

since a file's name begins with its rank. {_with_mdckit(n, name)}"""


def with_ddranking(condensed: CondensedSet, name: str) -> str:
    """For DD-Ranking's input: the two tensors, and what to tell the evaluator."""
    grey = "Grey images have three equal channels in both. " if condensed.images.shape[2] == 1 else ""
    return f"""\
`image_tensor` and `hard_labels` for the evaluators of DD-Ranking are

```python
import torch

images, labels = torch.load({_quoted(name + "/images.pt")}), torch.load({_quoted(name + "/labels.pt")})
```

as in `compute_metrics(image_tensor=images, hard_labels=labels, syn_lr=0.01)`. They are normalised already. The folder
`images` is the same in 8 bits, for `image_path`, with a `custom_train_trans` that makes tensors of 0..1 and normalises
them. {grey}Set the evaluator's `ipc`, by which it draws random real images, to {condensed.ipc}: that many images are
stored per class. This is the whole set; for S[n] export `condensed.take(n)`.

{_with_mdckit(_some(condensed), name)}"""


def _with_mdckit(n: int, name: str) -> str:
    return f"""\
With mdckit, in full precision, normalised and as a PyTorch Dataset, S[{n}] is

```python
import mdckit

train = mdckit.load_set({_quoted(name)}).dataset(ipc={n})
```"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _transforms(condensed: CondensedSet) -> str:
    moments = f"{list(condensed.mean)}, {list(condensed.std)}"
    return f"v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize({moments})"


def _some(condensed: CondensedSet) -> int:
    """A size to show."""
    return min(3, condensed.ipc)
