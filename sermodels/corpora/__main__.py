"""Commands: audit what lies in a corpus folder, download the published corpora, make the demo corpus."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sermodels.corpora import CORPORA
from sermodels.errors import SermodelsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, or 1 with one `error:` line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SermodelsError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; run the same command again to go on")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sermodels.corpora", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    audit = commands.add_parser("audit", help="count and decode every recording, compare with what was published")
    audit.add_argument("dir", type=Path, help="folder with emodb/, ravdess/ or demo/; one of these; or a manifest .csv")
    audit.set_defaults(run=_audit)
    download = commands.add_parser("download", help="fetch EmoDB and RAVDESS from their public homes")
    download.add_argument("dir", type=Path, help="folder that gets emodb/ and ravdess/")
    download.add_argument("names", nargs="*", metavar="CORPUS", help=f"{' or '.join(CORPORA)} (default: all)")
    download.add_argument("--base-url", metavar="URL", help="mirror that has the zip files, in place of zenodo.org")
    download.set_defaults(run=_download, parser=download)
    demo = commands.add_parser("demo", help="make the demo corpus of synthetic speech, without a network")
    demo.add_argument("dir", type=Path, help="folder that gets the demo's emodb/, ravdess/ and demo.json")
    demo.add_argument("--seed", type=int, default=0, help="another seed makes other voices (default: %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _audit(options: argparse.Namespace) -> int:
    from sermodels.corpora.audit import audit, totals
    from sermodels.corpora.sources import find_sources

    audits = [audit(source) for source in find_sources(options.dir)]
    for line in (*(line for one in audits for line in one.lines), *totals(audits)):
        print(line)
    problems = sum(len(one.problems) for one in audits)
    return _fail(f"{problems} problem{'s' * (problems > 1)} in {options.dir}, listed above") if problems else 0


def _download(options: argparse.Namespace) -> int:
    from sermodels.corpora.download import ARCHIVES, download

    unknown = [name for name in options.names if name not in ARCHIVES]
    if unknown:
        options.parser.error(f"unknown corpus {', '.join(unknown)}; allowed: {', '.join(ARCHIVES)}")
    for name in options.names or ARCHIVES:
        print(ARCHIVES[name].notice, flush=True)
        print(download(options.dir, ARCHIVES[name], base_url=options.base_url), flush=True)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from sermodels.corpora.demo import make_demo_corpus

    make_demo_corpus(options.dir, seed=options.seed)
    print(f"demo corpus of synthetic speech in {options.dir}; its numbers mean nothing about people")
    return 0


def _fail(message: str) -> int:
    sys.stdout.flush()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
