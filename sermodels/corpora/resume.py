"""A download that goes on where it broke off, by HTTP Range requests and a `.part` file."""

from dataclasses import dataclass
from pathlib import Path

import requests
from tqdm import tqdm

BLOCK_BYTES = 8192
"""Small, because the block in which the connection is lost is lost too."""


@dataclass(frozen=True)
class ResumingDownloader:
    """A downloader for pooch, which by itself starts anew after every broken connection.

    What has come is kept in `part`; the next call asks for the rest of it, and takes the whole file from a server
    that does not answer with a part. Raises requests.RequestException and OSError.
    """

    part: Path
    timeout_s: float = 30.0

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        """Fetch `url` into `output_file`, which pooch then checks."""
        offset = self.part.stat().st_size if self.part.exists() else 0
        with self._request(url, offset) as response:
            usable = self._receive(response, offset)
        if not usable:
            with self._request(url, 0) as response:
                self._receive(response, 0)
        self.part.replace(output_file)

    def _request(self, url: str, offset: int) -> requests.Response:
        # Compression on the way would make the offset count other bytes than the file's.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        return requests.get(url, headers=headers, stream=True, timeout=self.timeout_s)

    def _receive(self, response: requests.Response, offset: int) -> bool:
        """Write the body to `part`; False when the answer does not continue what is there."""
        content_range = response.headers.get("Content-Range", "")
        if offset and response.status_code == requests.codes.requested_range_not_satisfiable:
            return content_range == f"bytes */{offset}"  # nothing is missing: it broke off after the last byte
        response.raise_for_status()
        continues = response.status_code == requests.codes.partial_content
        if continues and not content_range.startswith(f"bytes {offset}-"):
            return False
        self._write(response, offset if continues else 0)
        return True

    def _write(self, response: requests.Response, offset: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdigit() else None
        name = self.part.name.removesuffix(".part")
        with (
            open(self.part, "ab" if offset else "wb") as file,
            tqdm(total=total, initial=offset, desc=name, unit="B", unit_scale=True) as progress,
        ):
            for block in response.iter_content(BLOCK_BYTES):
                file.write(block)
                progress.update(len(block))
