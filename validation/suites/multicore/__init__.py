"""Suite multicore: gradient boosting on one machine, its time by core count."""
