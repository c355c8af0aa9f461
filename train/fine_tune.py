"""Fine-tune the last model of a finished run on other biographies, and score what it learns and what it forgets.

  python train/fine_tune.py --config train/recipes/fine_tuning/mini.yaml --arm new112 --seed 10 \\
      --source runs/three_phases-10 --output_dir runs/fine_tuning-10

A run like any other (see train/pretrain.py): it starts from the weights of --source, with a fresh optimiser.
"""

from run_recipe import main

if __name__ == "__main__":
    main(__doc__ or "")
