"""A directory of files as the kubelet mounts a Secret: all of them change at once, behind a link."""

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path


class Mounted:
    """A mounted Secret."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._versions = count()
        directory.mkdir(parents=True, exist_ok=True)
        self.write({})

    def write(self, files: Mapping[str, str]) -> None:
        """Have these files and no others."""
        data = self.directory / "..data"
        before = data.resolve() if data.exists() else None
        version = self.directory / f"..version-{next(self._versions)}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_text(content)
        link = self.directory / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(data)
        for name in files:
            visible = self.directory / name
            if not visible.is_symlink():
                visible.symlink_to(Path("..data") / name)
        for path in self.directory.iterdir():
            if not path.name.startswith("..") and path.name not in files:
                path.unlink()
        if before is not None:
            shutil.rmtree(before)
