"""Rows of the imputed lines between the original space and the eigenbasis: skinny products, by hand.

Four lines at a time: each vector is read once for four of them, and a line's eigenvector row, read for the way back,
is still in the fastest cache for the way forward if the two follow each other.
"""

from __future__ import annotations

from bmtme.linalg.compile import compiled
from bmtme.linalg.lanes import WIDTH, add_up, load_row, multiply_add, spread, store_row

#: Lines that are rotated together.
BLOCK = 4
#: Numbers of eigenvector rows that stay in a fast cache between the way back and the way forward.
STRETCH = 32768


@compiled()
def count_stretch(J):
    """Lines whose rows of J numbers stay in a fast cache: whole blocks, at least one."""
    return BLOCK * max(1, STRETCH // (BLOCK * J))


@compiled(inline=True)
def scale_rows(X, first, width, factors, rank, out):
    """out = X times `factors` by column, in rows first .. first + width - 1; zero from column `rank` on."""
    for m in range(first, first + width):
        for j in range(rank):
            out[m, j] = factors[j] * X[m, j]
        for j in range(rank, factors.shape[0]):
            out[m, j] = 0.0


@compiled()
def copy_rows(X, first, width, out):
    """out = X in rows first .. first + width - 1."""
    for m in range(first, first + width):
        for j in range(X.shape[1]):
            out[m, j] = X[m, j]


@compiled()
def dot_four_rows(U, r0, r1, r2, r3, X, m):
    """Inner products of four rows of U with row m of X."""
    J = X.shape[1]
    end = J // WIDTH * WIDTH
    t0 = spread(0.0)
    t1 = spread(0.0)
    t2 = spread(0.0)
    t3 = spread(0.0)
    for j in range(0, end, WIDTH):
        xs = load_row(X, m, j)
        t0 = multiply_add(load_row(U, r0, j), xs, t0)
        t1 = multiply_add(load_row(U, r1, j), xs, t1)
        t2 = multiply_add(load_row(U, r2, j), xs, t2)
        t3 = multiply_add(load_row(U, r3, j), xs, t3)
    s0, s1, s2, s3 = add_up(t0), add_up(t1), add_up(t2), add_up(t3)
    for j in range(end, J):
        x = X[m, j]
        s0 += U[r0, j] * x
        s1 += U[r1, j] * x
        s2 += U[r2, j] * x
        s3 += U[r3, j] * x
    return s0, s1, s2, s3


@compiled()
def add_four_rows(w0, w1, w2, w3, U, r0, r1, r2, r3, Y, m):
    """Row m of Y += the weighted sum of four rows of U."""
    J = Y.shape[1]
    end = J // WIDTH * WIDTH
    v0, v1, v2, v3 = spread(w0), spread(w1), spread(w2), spread(w3)
    for j in range(0, end, WIDTH):
        ys = multiply_add(v0, load_row(U, r0, j), load_row(Y, m, j))
        ys = multiply_add(v1, load_row(U, r1, j), ys)
        ys = multiply_add(v2, load_row(U, r2, j), ys)
        store_row(Y, m, j, multiply_add(v3, load_row(U, r3, j), ys))
    for j in range(end, J):
        Y[m, j] += w0 * U[r0, j] + w1 * U[r1, j] + w2 * U[r2, j] + w3 * U[r3, j]


@compiled()
def dot_four_by_three(U, r0, r1, r2, r3, X, m, out, s0, s1, s2, s3, a):
    """Inner products of four rows of U with rows m, m + 1, m + 2 of X, into rows s0 .. s3 of out, from column a."""
    J = X.shape[1]
    end = J // WIDTH * WIDTH
    t00 = t01 = t02 = t10 = t11 = t12 = t20 = t21 = t22 = t30 = t31 = t32 = spread(0.0)
    for j in range(0, end, WIDTH):
        x0, x1, x2 = load_row(X, m, j), load_row(X, m + 1, j), load_row(X, m + 2, j)
        us = load_row(U, r0, j)
        t00, t01, t02 = multiply_add(us, x0, t00), multiply_add(us, x1, t01), multiply_add(us, x2, t02)
        us = load_row(U, r1, j)
        t10, t11, t12 = multiply_add(us, x0, t10), multiply_add(us, x1, t11), multiply_add(us, x2, t12)
        us = load_row(U, r2, j)
        t20, t21, t22 = multiply_add(us, x0, t20), multiply_add(us, x1, t21), multiply_add(us, x2, t22)
        us = load_row(U, r3, j)
        t30, t31, t32 = multiply_add(us, x0, t30), multiply_add(us, x1, t31), multiply_add(us, x2, t32)
    out[s0, a], out[s0, a + 1], out[s0, a + 2] = add_up(t00), add_up(t01), add_up(t02)
    out[s1, a], out[s1, a + 1], out[s1, a + 2] = add_up(t10), add_up(t11), add_up(t12)
    out[s2, a], out[s2, a + 1], out[s2, a + 2] = add_up(t20), add_up(t21), add_up(t22)
    out[s3, a], out[s3, a + 1], out[s3, a + 2] = add_up(t30), add_up(t31), add_up(t32)


@compiled()
def add_four_by_three(y, s0, s1, s2, s3, a, U, r0, r1, r2, r3, Y, m):
    """Rows m, m + 1, m + 2 of Y += the sums of four rows of U weighted with columns a, a + 1, a + 2 of y."""
    J = Y.shape[1]
    end = J // WIDTH * WIDTH
    v00, v01, v02 = spread(y[s0, a]), spread(y[s0, a + 1]), spread(y[s0, a + 2])
    v10, v11, v12 = spread(y[s1, a]), spread(y[s1, a + 1]), spread(y[s1, a + 2])
    v20, v21, v22 = spread(y[s2, a]), spread(y[s2, a + 1]), spread(y[s2, a + 2])
    v30, v31, v32 = spread(y[s3, a]), spread(y[s3, a + 1]), spread(y[s3, a + 2])
    for j in range(0, end, WIDTH):
        u0, u1, u2, u3 = load_row(U, r0, j), load_row(U, r1, j), load_row(U, r2, j), load_row(U, r3, j)
        y0, y1, y2 = load_row(Y, m, j), load_row(Y, m + 1, j), load_row(Y, m + 2, j)
        y0, y1, y2 = multiply_add(v00, u0, y0), multiply_add(v01, u0, y1), multiply_add(v02, u0, y2)
        y0, y1, y2 = multiply_add(v10, u1, y0), multiply_add(v11, u1, y1), multiply_add(v12, u1, y2)
        y0, y1, y2 = multiply_add(v20, u2, y0), multiply_add(v21, u2, y1), multiply_add(v22, u2, y2)
        y0, y1, y2 = multiply_add(v30, u3, y0), multiply_add(v31, u3, y1), multiply_add(v32, u3, y2)
        store_row(Y, m, j, y0)
        store_row(Y, m + 1, j, y1)
        store_row(Y, m + 2, j, y2)
    for j in range(end, J):
        for b in range(3):
            Y[m + b, j] += (
                y[s0, a + b] * U[r0, j] + y[s1, a + b] * U[r1, j] + y[s2, a + b] * U[r2, j] + y[s3, a + b] * U[r3, j]
            )


@compiled(inline=True)
def rotate_back(U, lines, start, stop, X, first, width, out):
    """out[start:stop, :width] = U[lines[start:stop]] X[first:first + width]'."""
    J = X.shape[1]
    for s in range(start, stop, BLOCK):
        # A row short of four is the last one again, written to its own place again.
        s1, s2, s3 = min(s + 1, stop - 1), min(s + 2, stop - 1), min(s + 3, stop - 1)
        r0, r1, r2, r3 = lines[s], lines[s1], lines[s2], lines[s3]
        a = 0
        while a + 3 <= width:
            dot_four_by_three(U, r0, r1, r2, r3, X, first + a, out, s, s1, s2, s3, a)
            for c in range(s, min(s + BLOCK, stop)):
                for b in range(a, a + 3):
                    t = out[c, b]
                    for j in range(J // WIDTH * WIDTH, J):
                        t += U[lines[c], j] * X[first + b, j]
                    out[c, b] = t
            a += 3
        while a < width:
            out[s, a], out[s1, a], out[s2, a], out[s3, a] = dot_four_rows(U, r0, r1, r2, r3, X, first + a)
            a += 1


@compiled(inline=True)
def rotate_forward(U, lines, start, stop, y, Y, first, width):
    """Y[first:first + width] += y[start:stop, :width]' U[lines[start:stop]]."""
    for s in range(start, stop, BLOCK):
        s1, s2, s3 = min(s + 1, stop - 1), min(s + 2, stop - 1), min(s + 3, stop - 1)
        r0, r1, r2, r3 = lines[s], lines[s1], lines[s2], lines[s3]
        a = 0
        if s + BLOCK <= stop:
            while a + 3 <= width:
                add_four_by_three(y, s, s1, s2, s3, a, U, r0, r1, r2, r3, Y, first + a)
                a += 3
        while a < width:
            w1 = y[s1, a] if s + 1 < stop else 0.0
            w2 = y[s2, a] if s + 2 < stop else 0.0
            w3 = y[s3, a] if s + 3 < stop else 0.0
            add_four_rows(y[s, a], w1, w2, w3, U, r0, r1, r2, r3, Y, first + a)
            a += 1
