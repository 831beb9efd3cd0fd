"""The emotions and their one order, used in labels, files and figures alike."""

COMMON_EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
"""The six classes that EmoDB and RAVDESS share, in label order."""

OTHER_EMOTIONS = ("boredom", "calm", "surprise")
"""Classes of one corpus only, reachable by `corpus.emotions`."""

ALL_EMOTIONS = COMMON_EMOTIONS + OTHER_EMOTIONS

COLOURS = dict(
    zip(
        ALL_EMOTIONS,
        ("#d1495b", "#66803f", "#7d4fa0", "#e0a030", "#6b7a8f", "#2f6db5", "#8c5a3c", "#3aa6a0", "#c060a0"),
        strict=True,
    )
)
"""One colour an emotion, the same in every picture."""
