"""Compiled full conditionals: arrays in, arrays out.

Letters used throughout (see also the README's page of notation)

====  =========================================================================================
J     lines with a record; the index ``j`` runs over the eigenvectors of their relationship
r     rank of that relationship, r <= J; the eigenvalues d are in descending order, zero beyond r
I, L  environments, traits
M     recorded columns (env, trait), env-major; ``col_env[m]``, ``col_trait[m]`` say which
Y     (M, J) phenotypes in the eigenbasis, one row a column (env, trait): Y[m] = U' y_m
x     (J,) the rotated vector of ones (of square roots of plot multiples), x = U' sqrt(c)
w     (M, J) standardised genetic effects, u = sqrt(d) w, so that nothing is divided by d
C, R  (M, M) covariances of w_j and of the residual of Y_j: V_j = Var(Y_j) = d_j C + R
====  =========================================================================================

Nothing here checks its input or prints; a matrix that is not positive definite is reported through a
return code and named by the caller.
"""
