"""The `bed` command."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence

from . import bed, builder, enter, fedora, host, images, machine, package, rootfs, unpacked
from .settings import REPOSITORY, BedError, Settings, from_environment
from .stages import Stages

EPILOG = """\
environment:
  BED_NAME   which bed, for several side by side (default: bed)
  BED_HOME   where beds and caches are kept (default: build/bed in this checkout)

in the bed:
  /src                                    this checkout, read-only
  /out                                    BED_HOME/out/BED_NAME, for files that outlive the bed
  /usr/local/share/nanoclaw-bed/base.tar  base of the images, for `podman import`
  /usr/local/share/nanoclaw-bed/wheels    wheels for image builds

beside it:
  in-fresh-bed CMD…     a command in a new bed, which is removed afterwards
  in-beds DIRECTORY…    tests, shared out over several new beds (see `in-beds --help`)

exit status: that of the command; 1 if the bed itself fails, 2 for a wrong command line
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        settings = from_environment()
        return int(arguments.run(settings, arguments) or 0)
    except BedError as error:
        print(f"bed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbed: interrupted; `bed up` starts again, `bed down` removes what is left", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bed",
        description="A throwaway Debian 13 with systemd, to run the appliance in.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    up = commands.add_parser("up", help="boot the bed and install the working tree's package in it")
    up.add_argument("--no-install", action="store_true", help="boot it without the package")
    up.set_defaults(run=_up)

    execute = commands.add_parser("exec", help="run a command in the bed: exec [-u USER] -- CMD…")
    execute.add_argument("-u", "--user", default="root", help="as whom (default: root)")
    execute.add_argument("words", nargs="+", metavar="CMD")
    execute.set_defaults(run=_exec)

    shell = commands.add_parser("shell", help="a login shell in the bed")
    shell.add_argument("-u", "--user", default="root", help="as whom (default: root)")
    shell.set_defaults(run=_shell)

    down = commands.add_parser("down", help="remove the bed")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", help="show the beds of this checkout")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.add_argument("--names", action="store_true", help="only the names of beds that exist")
    status.set_defaults(run=_status)

    build = commands.add_parser("builder", help="run a command where the package is built, in /src: builder -- CMD…")
    build.add_argument("words", nargs="+", metavar="CMD")
    build.set_defaults(run=_builder)

    deb = commands.add_parser("deb", help="build the package of the working tree and put it into build/")
    deb.add_argument("--no-lint", action="store_true", help="without lintian")
    deb.set_defaults(run=_deb)

    rpm = commands.add_parser("rpm", help="build the packages for Fedora of the working tree and put them into build/")
    rpm.add_argument("--no-lint", action="store_true", help="without rpmlint")
    rpm.add_argument("--python", default=fedora.PYTHON, metavar="X.Y", help=f"Fedora's (default: {fedora.PYTHON})")
    rpm.set_defaults(run=_rpm)

    save = commands.add_parser("save-images", help="keep the bed's container images for the next bed")
    save.set_defaults(run=_save_images)
    return parser


def _up(settings: Settings, arguments: argparse.Namespace) -> None:
    bed.up(settings, install=not arguments.no_install)


def _exec(settings: Settings, arguments: argparse.Namespace) -> None:
    host.require_root()
    leader = machine.require_leader(settings)
    enter.execute(leader, enter.user_of(leader, arguments.user), arguments.words)


def _shell(settings: Settings, arguments: argparse.Namespace) -> None:
    host.require_root()
    leader = machine.require_leader(settings)
    enter.execute(leader, enter.user_of(leader, arguments.user), ["bash", "-l"])


def _down(settings: Settings, _arguments: argparse.Namespace) -> None:
    bed.down(settings)
    left = bed.leftovers(settings)
    if left:
        raise BedError(f"still there: {', '.join(left)}; run `tests/bed/bed down` again")


def _status(settings: Settings, arguments: argparse.Namespace) -> None:
    rows = bed.status(settings)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    if arguments.names:
        print("\n".join(str(row["name"]) for row in rows if row["state"] != "absent"))
        return
    print(f"{'NAME':<20} {'STATE':<8} {'PID':>7} {'UP (s)':>7}  PACKAGE")
    for row in rows:
        cells = {name: "-" if value is None else value for name, value in row.items()}
        print("{name:<20} {state:<8} {pid:>7} {up_seconds:>7}  {package}".format(**cells))


def _builder(settings: Settings, arguments: argparse.Namespace) -> int:
    host.prepare(_say)
    unpacked.for_tests(_say)
    return builder.run(rootfs.builder_tree(settings, _say), arguments.words, rootfs.wheels(settings, _say))


def _deb(settings: Settings, arguments: argparse.Namespace) -> None:
    stages = Stages(2 if arguments.no_lint else 3)
    with stages.stage("looking at this host"):
        host.prepare(stages.note)
    with stages.stage("the package of the working tree"):
        directory = package.build(settings, stages.note)
    deb = package.the_deb(directory)
    if not arguments.no_lint:
        with stages.stage("lintian"):
            package.lint(settings, directory, stages.note)
    target = REPOSITORY / "build"
    for old in target.glob("*.deb"):
        old.unlink()
    shutil.copy2(deb, target)
    print(target / deb.name)


def _rpm(settings: Settings, arguments: argparse.Namespace) -> None:
    stages = Stages(2 if arguments.no_lint else 3)
    with stages.stage("looking at this host"):
        host.prepare(stages.note)
    with stages.stage("the packages for Fedora of the working tree"):
        directory = fedora.build(settings, arguments.python, stages.note)
    if not arguments.no_lint:
        with stages.stage("rpmlint"):
            fedora.lint(settings, directory, stages.note)
    for path in fedora.replace(directory, REPOSITORY / "build"):
        print(path)


def _save_images(settings: Settings, _arguments: argparse.Namespace) -> None:
    print(images.save(settings, machine.require_leader(settings), _say))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
