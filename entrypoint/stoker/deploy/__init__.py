"""The plan as a deployment: manifests for Kubernetes, compose, quadlet and Docker."""
