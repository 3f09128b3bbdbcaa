"""Training: `python train.py model=vaegan` (what can be set: `python train.py --help`)."""

from vaegan.training.command import main

if __name__ == "__main__":
    main()
