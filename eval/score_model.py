"""Score any causal language model on biographies: the command `bio-facts score`, for a clone.

  python eval/score_model.py runs/demo/checkpoint-2300 --dataset n1k --num-individuals 900 \\
      --pool-sizes cities=32,universities=32,majors=32,companies=32,years=4,months=4,days=4
"""

import sys

from bio_facts.cli import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
