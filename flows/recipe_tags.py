"""Tags by which runs of one recipe are found, and told from those of another."""

from sermodels.config import Config
from sermodels.files import sha256_of_json
from sermodels.stages.context import RunContext
from sermodels.stages.functionals import BACKBONE
from sermodels.stages.functionals import LETTER as FUNCTIONALS

COMMON = frozenset({"front_end", "clip", "classifier", "training"})
"""Sections of the config that every stage's classifier depends on."""
SHARES = ("folds", "test_fraction", "development_fraction")
"""Of the split, what rows share whose splits may be compared: its shares, but not its draw."""


def stage_tags(context: RunContext, stage: str, letter: str = "") -> dict[str, str]:
    """Tags by which the stage's run is found."""
    split, config = context.split(), context.config
    tags = {
        "stage": stage,
        "letter": letter,
        "protocol": split.protocol,
        "split": split.name,
        "seed": str(config.seed),
        "corpora": ", ".join([*config.corpus.names, *config.corpus.manifests]),
        "recipe": recipe_digest(config, letter),
        "common_recipe": common_digest(config),
        "augmented_as": "" if letter in ("", "A", FUNCTIONALS) else augmentation_digest(config),
        **{f"split.{name}": str(getattr(config.split, name)) for name in SHARES},
    }
    if letter:
        tags["backbone"] = BACKBONE if letter == FUNCTIONALS else config.classifier.backbone
    return tags


def common_digest(config: Config) -> str:
    """What stages must share to be compared: sound, network, training and shares of the split, but not its draw."""
    identity, split = config.identity(), config.split
    shares = [split.protocol, *(getattr(split, name) for name in SHARES)]
    return sha256_of_json([{name: identity[name] for name in sorted(COMMON)}, shares])[:12]


def augmentation_digest(config: Config) -> str:
    """What stages must share besides to be compared, if neither is the baseline."""
    return sha256_of_json(config.identity()["augmentation"])[:12]


def recipe_digest(config: Config, letter: str) -> str:
    """What cells of a table have in common: all that a stage's config says but for the split and the seed."""
    own = {
        "C": {"augmentation", "diffusion", "synthesis", "retraining"},
        "D": {"augmentation", "retraining"},
        "A": set(),
    }
    sections = COMMON | own.get(letter, {"augmentation"}) if letter != FUNCTIONALS else set()
    chosen = {name: part for name, part in config.identity().items() if name in sections}
    return sha256_of_json([letter, chosen, config.synthesis.per_emotion if letter == "D" else 0])[:12]
