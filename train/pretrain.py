"""Pre-train a language model on biographies made on the fly, and score what it knows as it learns.

  python train/pretrain.py --config train/recipes/three_phases/mini.yaml --output_dir runs/demo --seed 10
  python train/pretrain.py --config train/recipes/three_phases/smoke.yaml --output_dir runs/smoke      # seconds
  accelerate launch --num_processes 2 train/pretrain.py --config RECIPE.yaml --output_dir runs/two     # two GPUs
  python train/pretrain.py --config runs/demo/config.json --output_dir runs/again                      # repeat a run

The same command again resumes a run that was cut, and exits at once if it is complete. The folder then holds
config.json, metrics.jsonl (one line per evaluated step and split) and the last two checkpoints, each of which loads
with AutoModelForCausalLM and AutoTokenizer. A GPU is used if there is one; ACCELERATE_USE_CPU=true keeps to the CPU.
"""

from run_recipe import main

if __name__ == "__main__":
    main(__doc__ or "")
