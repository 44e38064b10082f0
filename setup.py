"""Copies what the verbs read beside src/ into an installed package; the rest is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithFolders(build_py):
    """An editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in ("hydra_conf", "recipes", "launch"):
                shutil.copytree(name, Path(self.build_lib) / "cada_trl" / name, dirs_exist_ok=True)
            shutil.copy("pyproject.toml", Path(self.build_lib) / "cada_trl")  # whose pins doctor compares


setup(cmdclass={"build_py": WithFolders})
