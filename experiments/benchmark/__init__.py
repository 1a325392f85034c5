"""How fast is it, beside PyTorch, plain Flax and Keras on the same machine?

    python -m experiments.benchmark --data cats_vs_dogs/PetImages --out out/benchmark
    python -m experiments.benchmark --rows "forward/*" "gradient/*/8" --peers torch flax --out out/benchmark
    python -m experiments.benchmark --rows scaling --peers torch --data cats_vs_dogs/PetImages --add --out out/benchmark
    python -m experiments.benchmark --small --out out/small

The same networks with the same weights on the same inputs, float32, on the same number of processors: one process for
each peer, in turns. A row is TASK/MODEL/COUNT, and any such name may be given: `forward/resnet50/4@160` for four images
of 160 pixels, `pgd/efficientnet_lite0/8x10` for ten steps on eight. Before anything is timed, peers must give our
logits to 1e-3. The peers (extra `bench`):

- torch: PyTorch eager, channels last, `inference_mode`, its own allocator; for gradients only the image requires one.
- pages: the same process with its memory in large pages, by our `keep_large_pages`: what PyTorch could do here.
- compile: as the first, with batch norm fused by `fuse_conv_bn_eval`, then `torch.compile`, weights frozen for the
  forward.
- onnx: ONNX Runtime on the network as `tljax export` writes it, in its own memory; forward only.
- flax: our own modules with every convolution left to `lax.conv_general_dilated` and batch norm not folded.
- keras: `keras.applications` on the JAX backend, with random weights of its own.

All JAX processes keep their memory in large pages, as the `tljax` command does. Of "ideal" all follow our recipe, and
plain Flax shares all of our code but the network: "ideal/-/20" is that part by itself. Only
Lite0 has trained weights; those of the others are random, which costs the same. The first calls, which compile, are in
results.json, and count for `train` only. GFLOP/s are those of direct convolution, whatever way was taken.

It says what it finds, and the machine's own limits beside it. With `--budget 16`, a row of a network and three peers
took about two minutes; PGD by plain Flax takes four by itself. `--small` shows that it runs.
"""
