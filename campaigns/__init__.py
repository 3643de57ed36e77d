"""Long attacks on data, disks and running trainings; README.md lists them."""
