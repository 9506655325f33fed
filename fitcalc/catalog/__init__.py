"""Tables of GPUs, models, formats, prices and fitted efficiencies."""
