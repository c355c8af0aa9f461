"""How much a model attends to names when it predicts values, over training: with TransformerLens, for the kept models of a run.

python docs/examples/attention_over_training.py runs/demo attention.png
"""

import sys
from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge

import bio_facts
from bio_facts.checks import exit_with_error
from bio_facts.measure.tokens import ROLES, BiographyTokenizer, load_tokenizer
from bio_facts.runs.figures import label_axes, new_figure, save_figure, with_colors
from bio_facts.runs.kept_models import kept_models

try:
    if len(sys.argv) != 3 or not Path(sys.argv[2]).parent.is_dir():
        raise ValueError(f"arguments are {sys.argv[1:]}; they must be a run, and a picture in a folder that exists")
    run, picture = sys.argv[1:]
    kept = kept_models(run)  # the folder of a run, or the id of a published one
    data = kept.data
except ValueError as error:
    exit_with_error(error)
tokenizer = load_tokenizer(str(kept.model(kept.steps[0])))
tokenize = BiographyTokenizer(tokenizer, data.pool_sizes, data.formats)
biographies = bio_facts.draw(data, "validation", range(100))
input_ids = torch.from_numpy(tokenize(biographies).input_ids)
roles = torch.from_numpy(tokenize.roles(biographies))
is_name, is_value = roles == ROLES.index("name"), roles == ROLES.index("value")
rows, positions = torch.nonzero(is_value[:, 1:] & ~is_value[:, :-1], as_tuple=True)  # of the tokens before values

shares = []  # for each step, a tensor [layers, heads]: the mean over values of the weight on names
for step in kept.steps:
    model = TransformerBridge.boot_transformers(str(kept.model(step)), device="cpu")
    with torch.no_grad():
        _, cache = model.run_with_cache(input_ids, names_filter=lambda name: name.endswith("hook_pattern"))
    patterns = (cache["pattern", layer][rows, :, positions] for layer in range(model.cfg.n_layers))
    shares.append(torch.stack([(pattern * is_name[rows, None]).sum(dim=-1).mean(dim=0) for pattern in patterns]))
    print(f"step {step}: {', '.join(f'{share:.3f}' for share in shares[-1].mean(dim=-1))}")  # of each layer

figure, (axes,) = new_figure(1, f"{run}: attention to names at the token before a value")
for layer, (color, heads) in enumerate(with_colors(torch.stack(shares, dim=1))):  # heads: [steps, heads]
    axes.plot(kept.steps, heads, color=color, lw=0.6)
    axes.plot(kept.steps, heads.mean(dim=-1), color=color, lw=2, label=f"layer {layer}, mean of heads")
label_axes(axes, "training step", "attention weight on names", top=1)
save_figure(figure, Path(picture))
