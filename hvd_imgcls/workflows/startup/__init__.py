"""The beginning that all workflows share: ranks, images, plan."""
