"""Covariance structures: how parameters make the genetic covariance C and the residual covariance R of a line."""
