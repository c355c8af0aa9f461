"""Score any causal language model on biographies: the command `bio-facts score`, for a clone.

python eval/score_model.py runs/demo/checkpoint-6000 --data-of runs/demo
"""

import sys

from bio_facts.cli import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
