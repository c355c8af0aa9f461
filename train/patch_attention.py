"""Train a model that is given the attention patterns of a finished run's models (paper section 3.1, Fig. 3).

  python train/patch_attention.py --config train/recipes/attention_patching/mini.yaml --arm after --seed 10 \\
      --source runs/three_phases-10 --output_dir runs/patching-10

A run like any other (see train/pretrain.py) on the same samples as --source: it starts from the model that the source kept at
step attention.start_step, with a fresh optimiser, and each forward first asks the model of step attention.reference_step.
"""

from run_recipe import main

if __name__ == "__main__":
    main(__doc__ or "")
