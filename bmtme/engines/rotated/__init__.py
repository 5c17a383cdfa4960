"""The sampler: what is constant (problem), what moves (state), the order of the steps (sweep), chains."""
