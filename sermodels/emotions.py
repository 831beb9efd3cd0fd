"""The emotions and their one order, used in labels, files and figures alike."""

COMMON_EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
"""The six classes that EmoDB and RAVDESS share, in label order."""

OTHER_EMOTIONS = ("boredom", "calm", "surprise")
"""Classes of one corpus only, reachable by `corpus.emotions`."""

ALL_EMOTIONS = COMMON_EMOTIONS + OTHER_EMOTIONS
