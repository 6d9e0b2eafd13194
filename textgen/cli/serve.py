"""The command `serve`: a server that clients of the completions protocol talk to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from textgen.cli.options import add_options, check_mixed
from textgen.config import DEFAULT_CORPUS, MixConfig, ServerConfig
from textgen.errors import ModelFileError, OptionError, TextgenError, shown, shown_path
from textgen.saving.find_model import is_model_name, model_names
from textgen.saving.model_file import load_model
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import TrainedModel
from textgen.system.process import is_installed
from textgen.system.terminal import Parser, say, say_warnings

DESCRIPTION = """\
Complete prompts for other programs, over HTTP, as OpenAI's /v1/completions does; and
for people on a page, at the address that it says.

  %(prog)s                          all models in models/, on this machine
  %(prog)s --model story.h5         your own, as the model "story"
  %(prog)s --port 9000 --token ...  for those only who know the token

All clients' completions are made together. SIGTERM or Ctrl-C lets those under way end,
then the status is 0; a second one ends at once. docs/server.md shows clients.
"""
LIBRARIES = ("prometheus_client", "starlette", "uvicorn")
INSTALL = "install it with: pip install 'textgen-lstm[serve]'"
TOKEN_VARIABLE = "TEXTGEN_TOKEN"
LOOPBACK = ("127.", "::1", "localhost")


def parse_arguments(
    arguments: Sequence[str], prog: str
) -> tuple[argparse.Namespace, ServerConfig]:
    """Read the command line, and check all of it before a model is loaded."""
    parser = Parser(DESCRIPTION, prog, usage="%(prog)s [options]")
    # fmt: off
    parser.add_argument("--model", metavar="NAME", action="append", default=None,
        help="a model to serve, a file or a name; may be given several times, and "
        "with --mix they are one, called NAME+NAME (default: all in models/ and all "
        "that come with the program)")
    # fmt: on
    add_options(parser, MixConfig)
    add_options(parser.add_argument_group("the server"), ServerConfig)
    options = parser.parse_args(arguments)
    are_several = len(options.model or ()) > 1
    check_mixed(options, are_several, "give their names as `model`")
    names = [field.name for field in fields(ServerConfig)]
    config = ServerConfig(**{name: getattr(options, name) for name in names})
    if config.token is None and os.environ.get(TOKEN_VARIABLE):
        config = replace(config, token=os.environ[TOKEN_VARIABLE])
    return options, config


def load_models(
    given: Sequence[str], reader: Reader | None = None
) -> dict[str, TrainedModel]:
    """Return the models by the names that clients use."""
    models: dict[str, TrainedModel] = {}
    for each in given:
        name = each if is_model_name(each) else Path(each).stem
        if name in models:
            problem = f"`model` {shown_path(each)} is a second one called {name!r}"
            raise OptionError(problem, "rename its file")
        models[name], reader = load_model(each, reader=reader), None
        say(f"model {name}: {str(models[name].path)!r}{models[name].remark}")
    return models


def load_all_models(reader: Reader | None = None) -> dict[str, TrainedModel]:
    """Return all models that have a name; those that can't be read are left out."""
    models: dict[str, TrainedModel] = {}
    # A client that names none gets the first, which is the usual one of all commands.
    for name in sorted(model_names(), key=lambda name: name != DEFAULT_CORPUS):
        try:
            models |= load_models([name], reader)
        except TextgenError as error:
            say(f"model {shown(name)} is left out: {error}")
        reader = None
    if not models:
        raise ModelFileError("no model in models/ can be read", "give one by `model`")
    return models


def mixed(
    models: Mapping[str, TrainedModel], mix: Sequence[float]
) -> dict[str, TrainedModel]:
    """Return the mixture of all models by their names in one."""
    from textgen.saving.mixed_model import mix_models  # only where it is needed

    return {"+".join(models): mix_models(list(models.values()), mix)}


def main(arguments: Sequence[str], prog: str, *, reader: Reader) -> None:
    """Load the models, the first by ``reader``, and serve until a signal comes."""
    options, config = parse_arguments(arguments, prog)
    if not all(map(is_installed, LIBRARIES)):
        raise TextgenError(f"serving needs {', '.join(LIBRARIES)}", INSTALL)
    say_warnings()
    from textgen.web.server import listen, serve

    with listen(config.host, config.port) as listening:
        given = options.model
        models = load_models(given, reader) if given else load_all_models(reader)
        if options.mix is not None:
            models = mixed(models, options.mix)
        if config.token is None and not config.host.startswith(LOOPBACK):
            say("note: everybody who reaches it can use it; a `token` prevents that")
        serve(models, config, listening)
