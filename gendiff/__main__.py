"""python -m gendiff COMMAND: the library on the command line; --help says what there is.

Whatever a person can put right ends with exit code 2 and one sentence on stderr.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from gendiff import __version__, commands, compare, evaluate, exchange, films
from gendiff.errors import GendiffError
from gendiff.images import FORMATS
from gendiff.latent import PATHS
from gendiff.recipes import RECIPES
from gendiff.sample import SAMPLERS, SPACINGS
from gendiff.teach import LESSONS

FILMS = " or ".join(f".{form}" for form in FORMATS)
RACES = (
    "Race two to four contestants of one data set over the same seeds: one after the other, each "
    "by a clock of its own work alone, without loading and warm-up. Prints seconds, pictures a "
    "second and ratios, beside the quality that metrics.json has of them; --out keeps it with its "
    "pictures. With --estimate there is no race: N pictures of each tell their quality, roughly."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 2: misuse, said in one sentence on stderr; 130: interrupted."""
    try:
        arguments = parser().parse_args(argv)
        return arguments.command(arguments) or 0
    except GendiffError as error:
        message = " ".join(str(error).split())
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] == "gendiff":
            raise
        message = f"This needs {error.name}; run: pip install -r requirements.txt"
    except torch.OutOfMemoryError:
        message = "The device has too little free memory; ask for fewer pictures at once."
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"gendiff: {message}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong the way everything else here does; its sub-parsers do, too."""

    def error(self, message: str) -> NoReturn:
        raise GendiffError(f"{message.rstrip('.')}; see {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """All commands; `command` is the function that carries one out."""
    root = _Parser(
        prog="python -m gendiff", description="GANs and diffusion models, side by side."
    )
    root.add_argument("--version", action="version", version=f"gendiff {__version__}")
    sub = root.add_subparsers(required=True, metavar="COMMAND")

    models = sub.add_parser("models", help="list the checkpoints")
    models.add_argument("folder", nargs="?", type=Path, help="of checkpoints; default: bundled")
    models.add_argument("--json", action="store_true")
    models.add_argument("--check", action="store_true", help="compare our list with the Hub")
    models.set_defaults(command=commands.models)

    sample = sub.add_parser("sample", help="one picture a seed, on a sheet")
    _model(sample, "0-15", "FILE.png")
    _diffusion(sample)
    sample.add_argument("--truncation", type=float, help="of a GAN's z: 0.05 (all alike) to 10")
    sample.set_defaults(command=films.sample)

    run = sub.add_parser("trajectory", aliases=["denoise"], help="a film from noise to pictures")
    _model(run, "0-3", f"FILE: {FILMS}")
    _diffusion(run)
    run.add_argument("--what", choices=("x_t", "x0", "eps"), default="x_t", help="default: x_t")
    run.add_argument("--frames", type=int, default=100, help="at most so many; default: 100")
    run.set_defaults(command=films.trajectory)

    walk = sub.add_parser("interpolate", help="a film of the way from seed to seed")
    _model(walk, "1,2,3", f"FILE: {FILMS}")
    walk.add_argument("--frames", type=int, default=60, help="default: 60")
    walk.add_argument("--path", choices=tuple(PATHS), default="slerp", help="default: slerp")
    walk.set_defaults(command=films.interpolate)

    _train(sub.add_parser("train", help="train a checkpoint, or go on with it"))
    said = "race contestants on the same data set"
    _compare(sub.add_parser("compare", help=said, description=RACES))
    evaluate.options(sub.add_parser("evaluate", help="score checkpoints: FID, KID, coverage"))
    cards = sub.add_parser("cards", help="write the README.md of every checkpoint anew")
    cards.add_argument("folder", nargs="?", type=Path, help="of checkpoints; default: bundled")
    cards.set_defaults(command=commands.cards)
    _bench(sub.add_parser("bench", help="measure checkpoints on this machine"))

    _exchange(sub)

    examples = sub.add_parser("examples", help="compute again what the app's tabs open with")
    examples.add_argument("tabs", nargs="*", metavar="TAB", help="default: all")
    examples.set_defaults(command=commands.examples)

    app = sub.add_parser("app", help="start the app in the browser")
    app.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    app.add_argument("--port", type=int, help="default: the first free one from 7860")
    app.add_argument("--share", action="store_true", help="a public address by Gradio's tunnel")
    _where(app)
    app.set_defaults(command=commands.app)
    return root


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument("name", metavar="NAME", help=", ".join((*RECIPES, *LESSONS)))
    train.add_argument("--images", type=int, help="to see in all; default: the recipe's")
    train.add_argument("--minutes", type=float, default=math.inf, help="for this session")
    train.add_argument("--batch", type=int, help="images a step; default: the recipe's")
    train.add_argument("--device", choices=("cpu", "cuda"))
    train.add_argument("--threads", type=int, help="of the processor")
    train.add_argument("--folder", type=Path, help="of the run; default: runs/NAME")
    train.add_argument(
        "--start", metavar="CHECKPOINT", help="whose weights a new run goes on from; default: none"
    )
    train.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="default: what is fast on the device"
    )
    train.add_argument(
        "--fresh", action="store_true", help="from nothing; an old run is set aside"
    )
    train.add_argument(
        "--every", type=float, default=5.0, metavar="MINUTES", help="between two saves; default: 5"
    )
    train.add_argument(
        "--install", action="store_true", help="copy the result to checkpoints/NAME"
    )
    train.set_defaults(command=commands.train)


def _compare(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "contestants",
        nargs="*",
        metavar="CONTESTANT",
        help="gan, ddim-50, dpmpp_2m-20, ... or NAME, NAME:ddim-50; default: gan ddim-50",
    )
    command.add_argument("--data", help="a data set; default: that of the first checkpoint named")
    command.add_argument("--seeds", default="0-15", help="7, 0-15 or 1,5,9-12; default: 0-15")
    command.add_argument("--batch", type=int, default=16, help="pictures at once; default: 16")
    command.add_argument(
        "--label", help="a class, by number or name; default: each seed draws one"
    )
    command.add_argument("--checkpoints", type=Path, metavar="FOLDER", help="default: bundled")
    command.add_argument(
        "--estimate",
        type=int,
        metavar="N",
        help="no race: the quality that N pictures of each tell (16 to 256), with intervals",
    )
    command.add_argument(
        "--first", type=int, default=10_000, help="seed of an estimate; default: 10000"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="a sheet with pictures: .html, .md, .csv or .json"
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--csv", action="store_true", help="of the race: a line a contestant")
    command.add_argument(
        "--threads", type=int, help="of the processor; the app races on half of its cores"
    )
    _where(command)
    command.set_defaults(command=compare.race)


def _bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument(
        "names", nargs="*", metavar="NAME", help="or a folder; default: all bundled"
    )
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions, no start-up time")
    bench.add_argument("--precision", action="store_true", help="PSNR of bfloat16 to float32, too")
    bench.add_argument("--threads", type=int, help="of the processor")
    _where(bench)
    bench.set_defaults(command=commands.measure)


def _exchange(sub: argparse._SubParsersAction) -> None:
    pull = sub.add_parser("pull", help="fetch a model from the Hugging Face Hub")
    pull.add_argument(
        "id", nargs="?", metavar="OWNER/NAME[@REVISION]", help="default: list what is offered"
    )
    pull.add_argument("--forget", action="store_true", help="remove it from this machine instead")
    pull.set_defaults(command=exchange.pull)

    push = sub.add_parser("push", help="publish a checkpoint, or the app, on the Hub")
    push.add_argument("name", nargs="?", metavar="NAME", help="a bundled checkpoint, or a folder")
    push.add_argument("--repo", metavar="OWNER/NAME", help="the model's place")
    push.add_argument("--space", metavar="OWNER/NAME", help="the app's place")
    push.add_argument("--dry-run", action="store_true", help="list the files, send nothing")
    push.set_defaults(command=exchange.push)


def _model(command: argparse.ArgumentParser, seeds: str, out: str) -> None:
    command.add_argument("name", metavar="NAME", help="a bundled checkpoint, or a folder")
    command.add_argument("--seeds", default=seeds, help=f"7, 0-15 or 1,5,9-12; default: {seeds}")
    command.add_argument(
        "--label", help="a class, by number or name; default: each seed draws one"
    )
    command.add_argument("--out", type=Path, required=True, metavar=out.split(":")[0], help=out)
    _where(command)


def _diffusion(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("diffusion models only")
    group.add_argument("--sampler", choices=tuple(SAMPLERS), help="default: ddim")
    group.add_argument("--steps", type=int, help="1 to the schedule's T; default: 50")
    group.add_argument("--guidance", type=float, help="0 to 20; default: 1, none")
    group.add_argument("--eta", type=float, help="0 to 1, of ddim; default: 0")
    group.add_argument("--variance", choices=("beta", "posterior", "learned"), help="of ddpm")
    group.add_argument("--spacing", choices=SPACINGS, help="of the levels; default: trailing")


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is")
    command.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: what is fast")


if __name__ == "__main__":
    sys.exit(main())
