"""The command `medim-bench`: finds verbs lazily, and turns mistakes into one line and an exit status."""

import atexit
import gc
import importlib
import os
import sys
import time
from typing import Any

import click

from benchmark import INTERRUPTED, NO_SCORING, SCORING, STOPPED
from benchmark.doctor.installation import MEND, trouble

# Closed by `>&-`: the next file opened would get its number, and what is printed.
if None in (sys.stdin, sys.stdout, sys.stderr):
    for _number, _name, _mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, _name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, _name, open(_number, _mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # for the whole process
if (_trouble := trouble()) is not None:
    print(f"{'error' if _trouble.fatal else 'warning'}: {_trouble.what}: {MEND}", file=sys.stderr)
    if _trouble.fatal:
        sys.exit(STOPPED)

from medim import __version__
from medim.common.errors import UserError, plain, unknown

# In the order of a first day's work; the help lists them so.
VERBS = (
    *("demo", "data", "train", "import", "sample", "run", "score", "ablate", "export", "leaderboard"),
    *("diagnose", "doctor", "selftest", "speed", "metric-environment"),
)
IN_PROCESSES = ("train model", "export")  # commands that several processes do together, started by torchrun or accelerate
LAST_WORD = 10  # seconds: a launcher ends all processes with the first that ends, which has to be the one that speaks


class NearestGroup(click.Group):
    """A group in its own order of verbs, whose answer to an unknown one names the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown("command", name, self.list_commands(ctx))
        resolved = super().resolve_command(ctx, args)
        if not isinstance(resolved[1], click.Group):
            _refuse_processes(name if ctx.parent is None else f"{ctx.info_name} {name}")
        return resolved


def _refuse_processes(command: str) -> None:
    """Raises a UserError, in the first of several processes, for a command that is one process's work."""
    if command in IN_PROCESSES or "LOCAL_RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return
    if os.environ.get("RANK", "0") != "0":
        time.sleep(LAST_WORD)
        raise click.exceptions.Exit(STOPPED)
    raise UserError(f"{command} uses one process: start it without torchrun or accelerate")


class VerbGroup(NearestGroup):
    """The root: imports a verb's module when it is called, and ends every command with a clear status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")  # no module can have a keyword's name
        command = getattr(importlib.import_module(f"benchmark.commands.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        # What Python collects at its end, a million objects several times over, goes with the process anyway: after scoring
        # some 1.5 CPU seconds that nobody needs.
        atexit.register(gc.freeze)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; the same command continues", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # `... | head`: click ends quietly
            raise
        except (UserError, OSError) as error:
            self._stop(ctx, error)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in SCORING:
                raise
            self._stop(ctx, UserError(NO_SCORING.format(package)))

    @staticmethod
    def _stop(ctx: click.Context, error: Exception) -> None:
        if ctx.params["traceback"]:
            raise error
        click.echo(f"error: {plain(str(error))}", err=True)
        ctx.exit(STOPPED)


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="medim-bench")
@click.option("--traceback", is_flag=True, help="Show where a mistake was noticed, not only its line.")
def main(traceback: bool) -> None:
    """Train, run and rank models that generate medical images and reports together.

    \b
    Exit status  0  all that was requested was done
                 3  finished, with failures listed in failures.jsonl in --out
               130  interrupted; the same command continues
             other  stopped; one line says why
    """


if __name__ == "__main__":
    sys.exit(main())
