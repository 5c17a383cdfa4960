# Multitrait of BGLR: an unstructured covariance of the traits for each random effect and for the residuals, with the
# package's own priors.
# In: y (records x traits); k1, k2, ...: covariances of the records, one for each effect; x, where there are fixed
# effects beside the intercept. Numbers: sweeps, of which dropped; seed.
# Out: the draws, as lower triangles by columns, of effect1, effect2, ... and of the residuals; degrees of freedom and
# scales of the priors; seconds.

suppressMessages(library(BGLR))
sweeps <- numbers[1]
dropped <- numbers[2]
set.seed(numbers[3])

effects <- list()
if (file.exists(place("x"))) {
  effects$fixed <- list(X = read_matrix("x"), model = "FIXED")
}
for (k in 1:9) {
  if (file.exists(place(paste0("k", k)))) {
    effects[[paste0("effect", k)]] <- list(K = read_matrix(paste0("k", k)), model = "RKHS", Cov = list(type = "UN"))
  }
}

y <- read_matrix("y")
prefix <- file.path(folder, "draws_")
began <- cpu_seconds()
fit <- Multitrait(y, effects, resCov = list(type = "UN"), nIter = sweeps, burnIn = dropped, thin = 1,
                  saveAt = prefix, verbose = FALSE)
write_matrix(cpu_seconds() - began, "seconds")

# The files hold every sweep, those that are dropped too.
keep_draws <- function(file) {
  draws <- as.matrix(read.table(paste0(prefix, file)))
  draws[-seq_len(dropped), , drop = FALSE]
}
keep_prior <- function(covariance, name) {
  write_matrix(covariance$df0, paste0("df_", name))
  write_matrix(covariance$S0, paste0("scale_", name))
}
write_matrix(keep_draws("R.dat"), "residual")
keep_prior(fit$resCov, "residual")
for (j in seq_along(effects)) {
  name <- names(effects)[j]
  if (name != "fixed") {
    write_matrix(keep_draws(sprintf("Omega_%d.dat", j)), name)
    keep_prior(fit$ETA[[j]]$Cov, name)
  }
}
