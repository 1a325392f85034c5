"""Runs an ONNX file in a process of its own: `python -P onnx_child.py MODEL CLASSES`. Imports nothing of tljax.

ONNX Runtime is native code, which a file that was made to do harm may bring down or fill the memory with, so
`onnx_file` starts this script with a limit on memory. Pictures come on stdin: height and width as two little-endian
int64, then uint8 RGB pixels; the float32 probabilities of each go to stdout, and after them its score of being none of
the classes: nan where the model tells none. Exit 3: why not, as one line on stderr.
"""

import contextlib
import struct
import sys

REFUSED = 3
OUTPUT, UNKNOWN = "output", "unknown"
_BYTES = 12 << 30  # of address space, also for the largest picture


def main(path: str, classes: str) -> int:
    """Answers until stdin ends; returns the exit code."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has them
        import resource

        assert sys.platform != "win32"
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import numpy as np
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        wanted = [OUTPUT, *(one.name for one in session.get_outputs() if one.name == UNKNOWN)]
        while head := sys.stdin.buffer.read(16):
            height, width = struct.unpack("<qq", head)
            pixels = np.frombuffer(sys.stdin.buffer.read(height * width * 3), np.uint8)
            probs, *scores = map(np.asarray, session.run(wanted, {name: pixels.reshape(1, height, width, 3)}))
            score = scores[0] if scores else np.full(1, np.nan)
            if probs.shape != (1, int(classes)):
                raise ValueError(f"its output has the shape {probs.shape}, not (1, {classes})")
            if score.shape != (1,):
                raise ValueError(f"its scores have the shape {score.shape}, not (1,)")
            sys.stdout.buffer.write(probs.astype("<f4").tobytes() + score.astype("<f4").tobytes())
            sys.stdout.buffer.flush()
    except Exception as error:  # ONNX Runtime's own have no common class
        print(" ".join(str(error).split())[:200], file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
