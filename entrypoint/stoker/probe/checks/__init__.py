"""What `stoker doctor` looks at: one small function a check, each of facts in, one `Check` out."""
