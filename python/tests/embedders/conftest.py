"""AiiDA and BentoML, unmodified, in environments of their own. They run where CIRCUS_EMBEDDERS=all.

CIRCUS_WHEEL is the wheel to try; CIRCUS_EMBEDDERS_DIR keeps the environments from one run to the next.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PACKAGE

# The last word of SKIPPED lines is what CI refuses; here it is told, and asked for by name.
WANTED = os.environ.get("CIRCUS_EMBEDDERS") == "all"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not WANTED:
        mark = pytest.mark.skip(reason="CIRCUS_EMBEDDERS=all installs AiiDA and BentoML and runs this")
        for item in items:
            if "embedders" in str(item.path):
                item.add_marker(mark)


class Environment:
    """A virtual environment with a program and our wheel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *words: str, cwd: Path | None = None, **env: str) -> str:
        """Runs a program of the environment, which has to succeed."""
        done = self.start(*words, cwd=cwd, **env)
        output, _ = done.communicate(timeout=300)
        assert done.returncode == 0, f"{words}: {output}"
        return output

    def start(self, *words: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        """Starts a program of the environment."""
        own = {name: value for name, value in os.environ.items() if name not in ("CIRCUS_PROGRAMS", "PYTHONPATH")}
        own.update(env, VIRTUAL_ENV=str(self.directory), PATH=f"{self.directory}/bin:{os.environ['PATH']}")
        return subprocess.Popen(
            [str(self.directory / "bin" / words[0]), *words[1:]],
            cwd=cwd,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def make(directory: Path, *requirements: str) -> Environment:
    """An environment with these and the wheel; ``pip check`` has nothing against it."""
    wheel = os.environ.get("CIRCUS_WHEEL")
    assert wheel, "CIRCUS_WHEEL does not name the wheel to try: maturin build --release, in python/"
    environment = Environment(directory)
    if not (directory / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    environment.run("pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    environment.run("pip", "install", "--quiet", wheel, *requirements)
    assert "No broken requirements" in environment.run("pip", "check")
    return environment


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("CIRCUS_EMBEDDERS_DIR")
    directory = Path(kept) if kept else tmp_path_factory.mktemp("embedders")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def aiida(environments: Path) -> Environment:
    return make(environments / "aiida", "aiida-core==2.9.4")


@pytest.fixture(scope="session")
def bentoml(environments: Path) -> Environment:
    return make(environments / "bentoml", str(PACKAGE / "stand-ins/kantoku"), "bentoml==1.4.40")
