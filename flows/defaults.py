"""Defaults that the command line, MLproject and the deployments share; nothing heavy is imported for them."""

WORKSPACE = "workspace"
CLASSIFIER = "ser-classifier@champion"
DIFFUSION = "ser-diffusion@champion"
STAGES = "ABCD"
STAGES_HELP = "Classifiers to train: A baseline, B augmentation, C with synthetic clips (needs A and B), D its control."
CLIPS_PER_EMOTION = 4
HOUR_S = 3600.0
