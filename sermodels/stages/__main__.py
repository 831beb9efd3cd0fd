"""One of the processes that train a stage together, as torchrun starts them: `python -m sermodels.stages REQUEST`."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from sermodels import ranks
from sermodels.errors import SermodelsError
from sermodels.stages.classification import RECIPES, train_and_evaluate
from sermodels.stages.diffusion import train
from sermodels.stages.launch import REQUEST, Request, report


def main(path: Path) -> int:
    """Join the others, train, and leave; returns the exit status."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        _train(REQUEST.validate_json(path.read_bytes()))
    except SermodelsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        dist.destroy_process_group()
    return 0


def _train(request: Request) -> None:
    """The stage's work."""
    context, folder, given = request.context, request.folder, request.given
    if request.stage == "diffusion":
        assert given is not None
        train(context, given, _tell_epoch, _tell_picture, folder)
    else:
        (recipe,) = [recipe for recipe in RECIPES if recipe.name == request.stage]
        train_and_evaluate(context, recipe, given, _tell_epoch, folder)


def _tell_epoch(record: dict[str, int | float]) -> None:
    """All know an epoch's figures, the first tells them."""
    if ranks.rank() == 0:
        report("epoch", record)


def _tell_picture(epoch: int, path: Path) -> None:
    """The stage shows it."""
    if ranks.rank() == 0:
        report("picture", [epoch, str(path)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
