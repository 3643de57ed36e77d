"""Public data sets, downloaded and unpacked into folders that `alexnet prepare` reads."""
