"""Stage one: the plots of an environment made into adjusted means, and what is to be known of them."""
