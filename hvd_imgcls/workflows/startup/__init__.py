"""Start-up common to all workflows: ranks, images, plan."""
