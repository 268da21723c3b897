"""`weft serve RUN`: a page on this machine on which one draws, and a trained run says, in the browser, what it sees."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/mnist-1, or the name of a "
                        "pretrained model, digits-cnn or mnist-cnn")  # fmt: skip
    parser.add_argument("--port", type=int, default=8710, help="of 127.0.0.1, 0 for any that is free (default 8710)")
    parser.add_argument("--engine", choices=["tfjs", "onnx"], help="what computes in the page: TensorFlow.js or "
                        "onnxruntime-web (default: tfjs where it has the model's layers)")  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="where the data sets are, for digits to try on the page")
    parser.add_argument("--open", action="store_true", help="open the page in this machine's browser")


def run(options: argparse.Namespace) -> int:
    import webbrowser

    if not 0 <= options.port < 1 << 16:
        raise ValueError(f"expected a port of 0 to 65535, got {options.port}")
    server = start(options.run, options.engine, options.data, options.port)
    print(f"{options.run}: draw at {server.url} (only this machine can; Ctrl-C ends it)", flush=True)
    if options.open:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    return 0


def start(name: str, engine: str | None, data: str | None, port: int) -> Any:
    """A server of a run's folder or a pretrained model, which listens already."""
    import json

    from weft.browser import server, site
    from weft.cli.runs import folder_of, is_shipped, open_run
    from weft.data import MissingDataError
    from weft.models.shipped import pretrained

    recipe, settings, model = open_run(name, "example")
    shipped, folder = is_shipped(name), folder_of(name)
    figures = folder / "figures.json"
    figure = pretrained(name).card["test"] if shipped else None
    if not shipped and figures.is_file():
        figure = json.loads(figures.read_text()).get("test")
    if not hasattr(recipe, "INK"):
        raise ValueError(f"serve: expected a run of drawn characters, whose recipe has INK (digits, mnist), got {name}")
    (example,) = recipe.example()[0].values()
    tested = remembered = None
    try:
        if not hasattr(recipe, "split"):
            raise MissingDataError(f"expected load() and split() in {recipe.__name__}, got neither")
        parts = recipe.split(recipe.load(data), settings["seed"])
        tested, remembered = (site.even(part, len(settings["classes"])) for part in (parts[-1], parts[0]))
    except MissingDataError as error:
        print(f"serve: a page without digits to try: {error}")
    made = site.make(folder.name, model, example, recipe.INK, settings["classes"], tested=tested,
                     remembered=remembered, engine=engine, figure=figure)  # fmt: skip

    def take(body: bytes) -> str:
        return keep(body, recipe.build(**settings.get("model", {})), model, folder)

    try:
        return server.Server(made, take, port)
    except OSError as error:
        raise OSError(f"could not listen on port {port} ({error.strerror}); --port 0 takes a free one") from error


def keep(body: bytes, copy: Any, model: Any, folder: Path) -> str:
    """Write the weights that the page sent as `taught-<n>.safetensors` into `folder`, if they are those of `model`.

    copy: another module like it, which is given them; what a page does not have (counters) is that of `model`.
    """
    import weft
    from weft.tfjs.files import read_json
    from weft.tfjs.weights import fill

    copy.load_state_dict(model.state_dict())
    fill(copy, read_json(body, Path("the page's weights"), others=False), "what the page sent")
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(number) for path in folder.glob("taught-*.safetensors") if (number := path.stem[7:]).isdigit()]
    path = folder / f"taught-{max(taken, default=0) + 1}.safetensors"
    weft.save(path, copy.state_dict())
    return str(path)
