"""Several devices and several processes: `sharding`, `join`, and what processes tell each other (`collectives`)."""
