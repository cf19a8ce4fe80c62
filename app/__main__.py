"""`python -m app`: read the settings and serve; `otaku serve` also starts the local platform."""

import argparse
import sys
from collections.abc import Sequence

from app.native_pools import load_lightgbm, pin_native_pools


def main(arguments: Sequence[str] = ()) -> int:
    """Return 0 after a clean stop, 1 with one sentence if the service cannot start; wrong usage exits with 2."""
    description = "Answer over HTTP with the model in Production; everything is set in the environment or .env."
    argparse.ArgumentParser(prog="python -m app", description=description).parse_args(arguments)
    pin_native_pools()
    load_lightgbm()
    # Only now, since native libraries read how many threads they may start when they are loaded.
    from app.server import serve
    from recsys.exceptions import ConfigurationError, ServiceUnavailableError
    from recsys.settings import load_settings

    try:
        serve(load_settings())
    except (ConfigurationError, ServiceUnavailableError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
