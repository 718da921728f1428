"""A finished engine in Triton: started, warmed up, watched, started again."""
