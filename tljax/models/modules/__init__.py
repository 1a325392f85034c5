"""The Flax modules of the families, one file each; `tljax.models.network` builds them when a network is first used."""
