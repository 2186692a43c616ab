"""Help of the commands, with groups of options and examples, and options of all commands."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperOption
from typer.main import get_install_completion_arguments

from boats_runtime import __version__

OTHER = "Other options"


class Command(TyperCommand):
    """Command whose help lists options by their `rich_help_panel`, and the epilog as examples.

    Typer does both only with Rich, which takes longer to import than the whole command.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and options."""
        params = self.get_params(ctx)
        has_groups = any(getattr(param, "rich_help_panel", None) for param in params)
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in params:
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                title = "Arguments"
            else:
                is_common = param.name in COMMON_OPTIONS or param is self.get_help_option(ctx)
                default = OTHER if has_groups and is_common else "Options"
                title = getattr(param, "rich_help_panel", None) or default
            sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write each line of the epilog as it is."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


COMMON_OPTIONS = ("version", "install_completion", "show_completion")
"""Names of the parameters that `create_common_options` returns."""


def create_common_options() -> list[Any]:
    """Return the options of all commands: the version and completion in the shell."""
    version = TyperOption(
        param_decls=["version", "--version", "-V"],
        is_flag=True,
        default=False,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version and exit.",
    )
    completion: list[Any] = list(get_install_completion_arguments())
    completion[1].help = "Print the script of the completion."
    for option in (version, *completion):
        option.show_envvar = option.allow_from_autoenv = False
    return [version, *completion]


def _show_version(context: Any, _: Any, value: bool) -> None:
    if value and not context.resilient_parsing:
        typer.echo(f"{context.find_root().info_name} {__version__}")
        raise typer.Exit
