"""Where the plan is run: manifests for Kubernetes, compose, quadlet and Docker, all sized from the plan."""
