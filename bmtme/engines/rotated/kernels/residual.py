"""Cross-products of residuals of the recorded plots, from which R_e is drawn (A.10).

Only recorded plots count; plots that were imputed to make the layout balanced are redrawn directly after,
so that (R_e, imputed plots) is one block. The sum over all cells is cheap in the eigenbasis; cells with
imputed plots are known in the original space, where their share is taken off and that of their recorded
plots put on.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import dot, factor_cholesky, invert_lower


@compiled(inline=True)
def subtract_fit(y, w, x, root_d, beta, out):
    """e = y - x beta - sqrt(d) w of one column."""
    for j in range(y.shape[0]):
        out[j] = y[j] - x[j] * beta - root_d[j] * w[j]


@compiled(inline=True)
def sum_rotated_residuals(Y, W, x, root_d, beta, first, traits, k, E, out):
    """k times the cross-products of the residuals of one environment's columns, in the eigenbasis.

    first : the environment's first column; traits : its recorded traits; E (p, J) workspace
    """
    p = traits.shape[0]
    for a in range(p):
        m = first + a
        subtract_fit(Y[m], W[m], x, root_d, beta[m], E[a])
        for b in range(a + 1):
            s = k * dot(E[a], E[b], E.shape[1])
            out[traits[a], traits[b]] = s
            out[traits[b], traits[a]] = s


@compiled()
def add_outer(weight, e, traits, out):
    """out += weight e e' over `traits`."""
    for p in traits:
        t = weight * e[p]
        for q in traits:
            out[p, q] += t * e[q]


@compiled(inline=True)
def exchange_cells(
    start, stop, traits, fitted, cell_count, cell_mean, cell_pad, pad, cell_parts, part_offset, part_plots, part, out
):  # fmt: skip
    """Take the residuals of completed cells off `out` and put those of their recorded plots on."""
    e = np.zeros(pad.shape[1])
    for c in range(start, stop):
        first, last = part_offset[c], part_offset[c + 1]
        plots = cell_count[c] + cell_pad[c] + cell_parts[c]
        for a in range(traits.shape[0]):
            l = traits[a]
            t = cell_pad[c] * pad[c, l]
            if cell_count[c] > 0.0:
                t += cell_count[c] * cell_mean[c, l]
            for q in range(first, last):
                t += part_plots[q] * part[q, l]
            e[l] = t / plots - fitted[c, a]
        add_outer(-plots, e, traits, out)
        if cell_count[c] > 0.0:
            for a in range(traits.shape[0]):
                e[traits[a]] = cell_mean[c, traits[a]] - fitted[c, a]
            add_outer(cell_count[c], e, traits, out)
        for q in range(first, last):
            for a in range(traits.shape[0]):
                e[traits[a]] = part[q, traits[a]] - fitted[c, a]
            add_outer(part_plots[q], e, traits, out)


@compiled()
def sum_log_density(S, n, recorded, R):
    """log N(0, R) density of n rows with cross-products S, over the recorded traits; NaN where R fails."""
    L = R.shape[0]
    index = np.empty(L, np.int64)
    p = 0
    for l in range(L):
        if recorded[l]:
            index[p] = l
            p += 1
    A = np.empty((p, p))
    K = np.empty((p, p))
    Ki = np.empty((p, p))
    for a in range(p):
        for b in range(p):
            A[a, b] = R[index[a], index[b]]
    if not factor_cholesky(A, K):
        return np.nan
    invert_lower(K, Ki)
    total = -0.5 * n * p * math.log(2.0 * math.pi)
    for a in range(p):
        total -= n * math.log(K[a, a])
        for b in range(a + 1):
            for c in range(a + 1):
                total -= 0.5 * Ki[a, b] * S[index[b], index[c]] * Ki[a, c]
    return total


@compiled()
def sum_records(values, rec_cell, rec_env, rec_complete, rec_plots, total, count, within):
    """Reduce complete records to cell means and within-cell cross-products.

    values (N, L); rec_cell (N,) cell of each record, -1 for none; rec_complete (N,) whether every recorded
    trait of its environment is seen; rec_plots (N,) plots of which it is the mean, and its weight. total (cells, L)
    becomes the mean, count (cells,) the plots of complete records, within (I, L, L) cross-products of the records
    around the cell means, by environment.
    """
    L = values.shape[1]
    total[:] = 0.0
    count[:] = 0.0
    within[:] = 0.0
    for n in range(values.shape[0]):
        c = rec_cell[n]
        if c >= 0 and rec_complete[n]:
            count[c] += rec_plots[n]
            for l in range(L):
                if not np.isnan(values[n, l]):
                    total[c, l] += rec_plots[n] * values[n, l]
    for c in range(count.shape[0]):
        if count[c] > 0.0:
            for l in range(L):
                total[c, l] /= count[c]
    for n in range(values.shape[0]):
        c = rec_cell[n]
        if c >= 0 and rec_complete[n] and count[c] > 1.0:
            for a in range(L):
                if np.isnan(values[n, a]):
                    continue
                for b in range(L):
                    if not np.isnan(values[n, b]):
                        t = (values[n, a] - total[c, a]) * (values[n, b] - total[c, b])
                        within[rec_env[n], a, b] += rec_plots[n] * t
