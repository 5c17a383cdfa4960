"""Linear mixed models y = X b + sum_t Z_t u_t + e by sparse mixed model equations; arrays inside, no labels."""
