"""fitcalc: which GPU, how many, which settings, at what cost, for this model and this traffic."""
