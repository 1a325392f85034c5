"""Rule tables: which tensor of a weight file is which parameter, one module per family of models.

Each module has `tables(spec)`: for every origin of weights, such as "torchvision", its list of `Rule`.
"""
