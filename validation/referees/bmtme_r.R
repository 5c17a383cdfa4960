# The R package BMTME (1.0.19). It keeps posterior means only; here the draws of its three covariances are read as they
# pass: each sweep asks `inv_wishart` for that of the traits, of the environments and of the residuals, in this order.
# In: y (records x traits), x (records x environments) and either
#   z1, z2: designs of the two effects, made by the caller; or
#   lines, cells: incidence of the records, and g, the relationship: designs as the package's help page makes them.
# Numbers: sweeps, of which dropped; seed; block size.
# Out: the draws, as lower triangles by columns; the means that the package returns; the designs; seconds.

suppressMessages(library(BMTME))
sweeps <- numbers[1]
dropped <- numbers[2]
set.seed(numbers[3])
block <- numbers[4]

y <- read_matrix("y")
x <- read_matrix("x")
colnames(y) <- paste0("T", seq_len(ncol(y)))
colnames(x) <- paste0("E", seq_len(ncol(x)))
if (file.exists(place("g"))) {
  g <- read_matrix("g")
  z1 <- read_matrix("lines") %*% cholesky(g)
  z2 <- read_matrix("cells") %*% cholesky(kronecker(diag(ncol(x)), g))
  write_matrix(z1, "z1")
  write_matrix(z2, "z2")
} else {
  z1 <- read_matrix("z1")
  z2 <- read_matrix("z2")
}

draws <- vector("list", 3 * sweeps)
count <- 0
own <- getFromNamespace("inv_wishart", "BMTME")
assignInNamespace("inv_wishart", function(df, S) {
  drawn <- own(df, S)
  count <<- count + 1
  draws[[count]] <<- drawn
  drawn
}, "BMTME")

began <- cpu_seconds()
fit <- BMTME(Y = y, X = x, Z1 = z1, Z2 = z2, nIter = sweeps, burnIn = dropped, thin = 1, bs = block, digits = 15,
             progressBar = FALSE)
write_matrix(cpu_seconds() - began, "seconds")

kept <- dropped + seq_len(sweeps - dropped)
write_matrix(stack_triangles(draws[3 * kept - 2]), "traits")
write_matrix(stack_triangles(draws[3 * kept - 1]), "environments")
write_matrix(stack_triangles(draws[3 * kept]), "residual")
for (name in c("yHat", "beta", "b1", "b2")) {
  write_matrix(fit[[name]], name)
}
