"""Does a hostile file crash, hang, fill the memory, or run code?

    python -m experiments.fuzz --out out/fuzz
    python -m experiments.fuzz --kinds onnx --inputs 1000 --out out/fuzz-onnx
    python -m experiments.fuzz --small --out out/small

Mutates valid weight files (torch's three containers, safetensors, pickled NumPy), pictures, RUN folders and exported
ONNX files, half of them by random bytes and half by the rules of the format (forged opcodes, lying sizes, huge
dimensions, bombs, links to devices, operators that want terabytes), and gives each to the public function that reads
it, in a process whose memory and time are watched. ONNX files need tljax[onnx]; a child process runs them, whose memory
is limited and not counted.
"Refused" is an `InputError`, which is one line; any other error counts as unclear.

Expected: 20,000 inputs, thousands refused, none of the five failures. Linux only. Time: five minutes on one CPU core;
the small preset takes two seconds. An input that failed is kept under OUT/failures.
"""
