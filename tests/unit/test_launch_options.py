"""Launch options are told by the kind that their parser gives them, and never what may be a secret."""

import argparse
import enum

import pytest
from run_recorder.telemetry.process.launch_options import launch_options


class Feature(enum.Enum):
    FP16 = "fp16_accumulation"
    CUBLAS = "cublas_ops"


def is_valid_directory(path: str) -> str:
    return path


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--listen", type=str, nargs="?", const="0.0.0.0,::")
    made.add_argument("--port", "-p", type=int)
    made.add_argument("--max-upload-size", type=float)
    made.add_argument("--cpu", action="store_true")
    made.add_argument("--lowvram", action="store_true")
    made.add_argument("--tomorrows-switch", action="store_const", const=3)
    made.add_argument("--cache-ram", nargs="*", type=float)
    made.add_argument("--preview-method", choices=("none", "auto"))
    made.add_argument("--level", type=int, choices=(1, 2))
    made.add_argument("--fast", nargs="*", type=Feature)
    made.add_argument("--cuda-device", type=str)
    made.add_argument("--output-directory", type=str)
    made.add_argument("--extra-model-paths-config", type=str, nargs="+", action="append")
    made.add_argument("--front-end-root", type=is_valid_directory)
    made.add_argument("--somewhere", type=is_valid_directory)
    made.add_argument("--front-end-version", type=str)
    made.add_argument("--tls-keyfile", type=str)
    made.add_argument("--comfy-api-base", type=str)
    made.add_argument("--verbose", nargs="*")
    made.add_argument("--enable-cors-header", nargs="?", const="*")
    return made


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], []),
        (["--cpu"], ["--cpu"]),
        (["--tomorrows-switch"], ["--tomorrows-switch"]),
        (["--low"], ["--lowvram"]),
        (["--port", "8188", "--lowvram"], ["--port 8188", "--lowvram"]),
        (["--port=8188"], ["--port 8188"]),
        (["-p", "8188"], ["-p 8188"]),
        (["--port", "-1"], ["--port -1"]),
        (["--max-upload-size", "1.5e3"], ["--max-upload-size 1.5e3"]),
        (["--cache-ram"], ["--cache-ram"]),
        (["--cache-ram", "4", "32.5"], ["--cache-ram 4 32.5"]),
        (["--cache-ram", "/home/me"], []),
        (["--preview-method", "auto"], ["--preview-method auto"]),
        (["--preview-method", "SECRET"], []),
        (["--level", "2"], ["--level 2"]),
        (["--fast"], ["--fast"]),
        (["--fast", "fp16_accumulation", "cublas_ops"], ["--fast fp16_accumulation cublas_ops"]),
        (["--fast", "fp16_accumulation", "SECRET"], ["--fast fp16_accumulation"]),
        (["--listen"], ["--listen"]),
        (["--listen", "0.0.0.0,::"], ["--listen 0.0.0.0,::"]),
        (["--listen", "/home/me"], []),
        (["--cuda-device", "0,1"], ["--cuda-device 0,1"]),
        (["--cuda-device", "SECRET"], []),
        (["--output-directory", "/home/me/out"], ["--output-directory <path>"]),
        (["--output-directory=out"], ["--output-directory <path>"]),
        (["--front-end-root", "/home/me"], ["--front-end-root <path>"]),
        (["--somewhere", "/home/me"], ["--somewhere <path>"]),
        (["--extra-model-paths-config", "/a", "/b"], ["--extra-model-paths-config <path> <path>"]),
        (
            ["--front-end-version", "Comfy-Org/ComfyUI_frontend@1.2.3"],
            ["--front-end-version Comfy-Org/ComfyUI_frontend@1.2.3"],
        ),
        (["--front-end-version", "/home/me/fe"], []),
        (["--tls-keyfile", "/home/me/key.pem"], ["--tls-keyfile <path>"]),
        (["--comfy-api-base", "https://me:pw@x"], []),
        (["--verbose", "DEBUG", "/home/me/log"], []),
        (["--verbose"], []),
        (["--enable-cors-header", "https://me:pw@x", "--cpu"], ["--cpu"]),
        (["--token=SECRET", "--cpu"], ["--cpu"]),
        (["--my-api-key", "SECRET", "--cpu"], ["--cpu"]),
        (["--c", "SECRET"], []),
        (["--", "SECRET"], []),
        (["stray", "--cpu", "SECRET"], ["--cpu"]),
        (["--cpu", "--cpu"], ["--cpu", "--cpu"]),
    ],
)
def test_options_are_told_by_their_kind(parser: argparse.ArgumentParser, arguments: list[str], told: list[str]) -> None:
    assert launch_options(parser, arguments) == told
