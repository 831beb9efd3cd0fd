"""The published corpora from their public homes: fetched, checked and unpacked to the layout that is read here."""

from dataclasses import dataclass
from pathlib import Path

from sermodels.corpora import CORPORA
from sermodels.corpora.folder import collect
from sermodels.corpora.unpack import unpack_recordings
from sermodels.errors import CorpusError
from sermodels.files import storage_error

CACHE = "downloads"
"""Folder beside the corpora that keeps the zip files, and what has come of a broken download."""


@dataclass(frozen=True)
class Archive:
    """The zip file of a corpus: where it is, what it must be, and under which terms."""

    name: str
    file: str
    home: str
    md5: str
    levels: int
    """Parts of a member's path that the corpus folder keeps."""
    notice: str


ARCHIVES = {
    "emodb": Archive(
        name="emodb",
        file="emodb.zip",
        home="https://zenodo.org/records/7447302/files",
        md5="9d21362dbc5676ef3ab4745d83ced0db",  # version 1.3.0, 39,981,818 bytes
        levels=1,
        notice="EmoDB: Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005), A Database of German Emotional Speech, "
        "Interspeech. Licence CC BY 4.0, https://doi.org/10.5281/zenodo.7447302: cite it.",
    ),
    "ravdess": Archive(
        name="ravdess",
        file="Audio_Speech_Actors_01-24.zip",
        home="https://zenodo.org/records/1188976/files",
        md5="bc696df654c87fed845eb13823edef8a",
        levels=2,
        notice="RAVDESS: Livingstone, Russo (2018), PLoS ONE 13(5): e0196391, https://doi.org/10.5281/zenodo.1188976. "
        "Licence CC BY-NC-SA 4.0: cite it, no commercial use, share alike.",
    ),
}


def download(folder: Path, archive: Archive, *, base_url: str | None = None) -> str:
    """Put a published corpus into `folder`/name; returns what was done, in words.

    A broken download is resumed by the next call. `base_url` is a mirror's folder with the same zip file. Raises
    CorpusError when there is no connection, the file is not the published one, or other files are in the way, and
    StorageError when it cannot be written; the corpus folder is then left as it was.
    """
    target = folder / archive.name
    try:
        if target.exists() and any(target.iterdir()):
            return _already_there(target, archive)
        zip_file = _fetch(folder, archive, base_url or archive.home)
        count = unpack_recordings(zip_file, target, levels=archive.levels)
    except OSError as error:
        raise storage_error(target, error) from error
    return f"{archive.name}: {count:,} recordings in {target}; the zip file is kept as {zip_file}"


def _already_there(target: Path, archive: Archive) -> str:
    scheme = CORPORA[archive.name]
    remedy = f"move {target} away to download it whole, or see: python -m sermodels.corpora audit {target}"
    try:
        found = len(collect(target, scheme).accepted().utterances)
    except CorpusError as error:
        raise CorpusError(f"{target} holds other files ({error}); {remedy}") from error
    if found != scheme.published_total():
        raise CorpusError(f"{target} holds {found:,} of {scheme.published_total():,} recordings; {remedy}")
    return f"{archive.name}: all {found:,} recordings are in {target} already; nothing was downloaded"


def _fetch(folder: Path, archive: Archive, base_url: str) -> Path:
    """The checked zip file in the cache below `folder`."""
    import pooch
    import requests

    from sermodels.corpora.resume import ResumingDownloader

    url = f"{base_url.rstrip('/')}/{archive.file}"
    cache = folder / CACHE
    scheme = CORPORA[archive.name]
    by_hand = (
        f"run again to go on, or place that file in {cache} and run again, "
        f"or place the recordings as {folder / archive.name}/{scheme.layout}"
    )
    pooch.get_logger().setLevel("ERROR")
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"md5:{archive.md5}",
            fname=archive.file,
            path=cache,
            downloader=ResumingDownloader(cache / f"{archive.file}.part"),
        )
    except requests.RequestException as error:
        raise CorpusError(f"{url} cannot be downloaded ({_reason(error)}); {by_hand}") from error
    except ValueError as error:
        raise CorpusError(f"{url} is not the published file: its md5 is not {archive.md5}; {by_hand}") from error
    return Path(path)


def _reason(error: Exception) -> str:
    """The first cause of a failed request, without the layers of wrapping around it."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return str(cause) or type(cause).__name__
