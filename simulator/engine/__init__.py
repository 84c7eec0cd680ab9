"""Run a plan by discrete events: `execute.execute` does it, `outcome.Outcome` is the result."""
