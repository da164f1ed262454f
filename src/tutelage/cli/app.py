"""The command's app: which commands there are, and who carries out a request."""

from __future__ import annotations

from cyclopts import App

from tutelage.cli.commands.data import data_app
from tutelage.cli.commands.diagnose import diagnose
from tutelage.cli.commands.explain import explain, explain_command
from tutelage.cli.commands.export import export, predict
from tutelage.cli.commands.list import list_names
from tutelage.cli.commands.report import report
from tutelage.cli.commands.run import run, run_command
from tutelage.cli.commands.show import show
from tutelage.cli.commands.study import study, study_command
from tutelage.cli.commands.transfer import transfer
from tutelage.cli.file_progress import file_progress
from tutelage.cli.recipe_app import exit_code

BY_TOKENS = {"run": run_command, "explain": explain_command, "study": study_command}
"""The commands whose options are those of recipes: they read the tokens behind their name themselves."""

app = App(
    name="tutelage",
    help="Teacher-student training: train a better classifier at the same inference cost.",
    version_flags=["--version"],
    help_on_error=False,
)
for function in (run, study, explain, show, report, diagnose, transfer, export, predict):
    app.command(function)
app.command(list_names, name="list")
app.command(data_app)


def dispatch(argv: list[str]) -> int:
    """Send a request to its command; returns the exit code."""
    with file_progress():
        if argv and argv[0] in BY_TOKENS:
            return BY_TOKENS[argv[0]](argv[1:])
        return exit_code(app, argv)
