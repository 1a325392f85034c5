"""From files to batches: decoding (`images`), where photos come from (`sources`), `splits`, and the `loader`."""
