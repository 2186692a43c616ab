"""Commands that install boats again, with another extra, from where it came."""

import shlex
from pathlib import Path

CLONE = Path(__file__).parents[2]
"""Folder of the clone, if this file is in one."""


def install_command(extras: str) -> str:
    """Return the command that adds extras to this installation of boats.

    A clone is not in any package index: its folder is named. If a wheel is installed, pip only adds
    what the extra needs.

    Args:
        extras: Extras separated by commas, such as `gpu`.
    """
    folder, editable = _find_folder()
    if folder is None:
        return f"pip install 'boats[{extras}]'"
    return f"pip install {'-e ' if editable else ''}{shlex.quote(f'{folder}[{extras}]')}"


def _find_folder() -> tuple[Path | None, bool]:
    """Return the folder that boats was installed from, and whether its files are used in place."""
    # Only an error needs these modules, which take longer to import than the command.
    import json  # noqa: PLC0415
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415
    from urllib.request import url2pathname  # noqa: PLC0415

    try:
        record = distribution("boats").read_text("direct_url.json")
    except PackageNotFoundError:  # on PYTHONPATH
        return (CLONE, True) if (CLONE / "pyproject.toml").is_file() else (None, False)
    # https://packaging.python.org/en/latest/specifications/direct-url/
    source = json.loads(record) if record else {}
    if "dir_info" not in source:
        return None, False
    folder = Path(url2pathname(urlsplit(source["url"]).path))
    return folder, bool(source["dir_info"].get("editable"))
