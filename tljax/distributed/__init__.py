"""Several devices and processes: `sharding`, `join`, `watch`, and what processes tell each other (`collectives`)."""
