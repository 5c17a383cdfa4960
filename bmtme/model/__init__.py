"""Data and model: trials and relationships as arrays, the model's parts, priors and covariance structures."""
