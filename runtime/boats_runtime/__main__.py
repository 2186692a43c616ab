"""`python -m boats_runtime IMAGE...` runs `boats-predict`."""

from boats_runtime.cli.predict import main

main()
