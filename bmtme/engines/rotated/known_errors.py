"""Errors of records whose covariance is known, as of adjusted means with standard errors.

A record y_n = t_n + e_n of line j in environment i has e_n ~ N(0, E_n), E_n known, beside the residual of its true
value, t_n ~ N(beta_i + u_ij, R_i). What all records of an environment have in common of the known, S_i
(`bmtme.model.errors`), is taken over into the residual:

t_n | u ~ N(beta_i + u_ij, R_i + S_i),    y_n | t_n ~ N(t_n, E_n - S_i),

for latent values t that vary far less than they would with all of E_n. They are the completed data of a sweep: its
residual covariance is R_i + S_i, but the parameters are those of R_i, with the same derivative. A record with E_n = S_i
is its own t; the t of the others are drawn where missing traits are, all traits of a record together.
"""

from __future__ import annotations

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_bool
from bmtme.linalg.small import factor_cholesky, solve_lower, solve_lower_transposed
from bmtme.model.codes import OBSERVED


@compiled()
def draw_true_values(rng, p, s, w, i, start, stop):
    """t of the records in cells start .. stop - 1 of an environment, of which `fit_cells` is current, into s.part.

    t = t* + R_o (R_oo + E)^-1 (y - y*), with t* ~ N(beta + u, R) and y* ~ N(t*_o, E) made up, o the traits seen: E may
    have rank zero. (Hoffman & Ribak 1991, Astrophysical Journal 380:L5.)
    """
    first, width = p.env_first[i], p.env_width[i]
    traits = p.col_trait[first : first + width]
    row = p.block[i] * p.n_trait
    R, K = np.empty((width, width)), np.empty((width, width))
    for a in range(width):
        for b in range(width):
            R[a, b] = s.R_e[row + traits[a], traits[b]]
    if not factor_cholesky(R, K):
        return False
    z, t, seen = np.empty(width), np.empty(width), np.empty(width, np.int64)
    noise = np.empty(p.n_trait)
    for c in range(start, stop):
        for q in range(p.part_offset[c], p.part_offset[c + 1]):
            for a in range(width):
                z[a] = rng.standard_normal()
            for l in range(p.n_trait):
                noise[l] = rng.standard_normal()
            n = 0
            for a in range(width):
                t[a] = w.fitted[c, a]
                for b in range(a + 1):
                    t[a] += K[a, b] * z[b]
                if p.patterns[p.part_pattern[q], traits[a]] == OBSERVED:
                    seen[n] = a
                    n += 1
            V, KV, x = np.empty((n, n)), np.empty((n, n)), np.empty(n)
            for a in range(n):
                l = traits[seen[a]]
                x[a] = p.part_values[q, l] - t[seen[a]]
                for k in range(p.n_trait):
                    x[a] -= p.part_root[q, l, k] * noise[k]
                for b in range(n):
                    V[a, b] = R[seen[a], seen[b]] + p.part_error[q, l, traits[seen[b]]]
            if not factor_cholesky(V, KV):
                return False
            solve_lower(KV, x)
            solve_lower_transposed(KV, x)
            for a in range(width):
                value = t[a]
                for b in range(n):
                    value += R[a, seen[b]] * x[b]
                s.part[q, traits[a]] = value
    return True


#: `draw_true_values` at its address.
call_draw_true_values = call_apart(draw_true_values, call_bool)
