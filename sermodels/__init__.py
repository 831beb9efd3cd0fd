"""Speech emotion recognition: corpora, features, classifier, diffusion augmentation, evaluation."""

__version__ = "0.1.0"
