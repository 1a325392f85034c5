"""Can one rely on it: on the labels it doubts, the copies it finds, its sets, its "none of these", and its choice?

    pip install ".[judge]"
    python -m experiments.trust --cats PetImages --pets pets37 --others imagenet_samples --out out/trust
    python -m experiments.trust --cats PetImages --pets pets37 --others imagenet_samples --parts scale --out out/many
    python -m experiments.trust --cats PetImages --pets pets37 --others imagenet_samples --small --out out/small

Each part is judged by another package where there is one, on the same numbers: cleanlab (labels), imagededup (copies),
MAPIE (sets) and pytorch-ood (none of these); where a package is missing its columns stay empty. 5 % of the labels are
changed at random; copies are planted (recompressed, halved, mirrored, cropped by 5 %, made brighter by 20 %); photos
that no probe saw are split anew a thousand times for the sets; the other photos of ImageNet, digits and noise are none
of the classes; and what `compare` takes is set beside a whole run of each network. Last, 20,000 photos are checked by a
process of its own, for its time and memory; this is best run alone.

Expected: the same doubted labels as cleanlab on the same probabilities, to the photo; at least 95 % of the copies with
at most two wrong groups; sets as often right as was asked for, and equal to MAPIE's; an AUROC at least that of the best
of pytorch-ood less 0.01. Time: half an hour on 2 CPU cores that had other work; the small preset takes two minutes.
"""
