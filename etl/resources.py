"""Where the data folders (schemas, migrations, dashboards) are: beside a checkout, or inside an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: str) -> Path:
    """The folder `name` ('schemas', 'migrations' or 'dashboards') of this installation.

    A wheel carries them under `etl/_resources/`; a checkout and an editable install have them beside `etl/`.
    """
    packed = _PACKAGE / "_resources" / name
    return packed if packed.is_dir() else _PACKAGE.parent / name
