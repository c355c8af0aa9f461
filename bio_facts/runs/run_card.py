"""The model card of a published run: how to load a step, curves, data, recipe, verdict, citation."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from bio_facts.files import asset
from bio_facts.runs.curves import Run
from bio_facts.runs.folder import CONFIG_FILE, METRICS_FILE
from bio_facts.runs.kept_models import RUN_FOLDER, KeptModels, branch_of

CURVES_FILE = "curves.png"
_METADATA = {
    "library_name": "transformers",
    "pipeline_tag": "text-generation",
    "language": ["en"],
    "tags": ["bio_facts", "learning-dynamics", "factual-knowledge", "synthetic"],
}


def render_run_card(repo_id: str, kept: KeptModels, verdicts: Sequence[Mapping[str, Any]]) -> str:
    """README.md of the repository. verdicts: what analyses of claims have written into the run's folder."""
    run, steps = kept.run, kept.steps
    sections = [
        f"---\n{yaml.safe_dump(_METADATA, sort_keys=False)}---\n\n# {repo_id.partition('/')[2]}\n",
        f"A language model (`{_model_type(kept)}`) trained on biographies of fictional individuals, with its weights at "
        f"{len(steps)} steps of training, from step {steps[0]} to step {steps[-1]}. It is a run of a recipe of bio_facts, an "
        "open implementation of *How do language models learn facts? Dynamics, curricula and hallucinations* "
        "([arXiv 2503.21676](https://arxiv.org/abs/2503.21676)).\n",
        "## Load a step\n\nEvery step is a branch; `main` has the last one.\n",
        f"```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{repo_id}", revision="{branch_of(steps[-1])}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{repo_id}", revision="{branch_of(steps[-1])}")\n'
        'print(model.num_parameters(), tokenizer("Paris").input_ids)\n```\n',
        f"`{RUN_FOLDER}/{METRICS_FILE}` has all metrics of all evaluations, and the SHA-256 of the weight files of every step, "
        "which training wrote when it saved them. This command checks them, and that the weights of every step give its loss:"
        f"\n\n```\nbio-facts verify-run {repo_id}\n```\n",
        f"## Curves\n\n![Attribute loss and accuracy over training]({RUN_FOLDER}/{CURVES_FILE})\n",
        _steps_table(kept),
        f"## Data\n\n{_data(run)}",
        *([f"## Verdict\n\n{_verdicts(verdicts)}"] if verdicts else []),
        f"## Recipe\n\nTo repeat the run: `python train/pretrain.py --config {RUN_FOLDER}/{CONFIG_FILE} --output-dir again`\n",
        f"```yaml\n{yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True)}```\n",
        f"Trained on {run.config['device']}, in {run.config.get('precision', 'float32')}, with "
        f"{', '.join(f'{name} {version}' for name, version in run.config['versions'].items())}.\n",
        f"## Citation\n\n{_citation()}",
    ]
    return "\n".join(sections)


def _model_type(kept: KeptModels) -> str:
    config = json.loads((kept.model(kept.steps[-1]) / "config.json").read_text(encoding="utf-8"))
    return str(config["model_type"])


def _steps_table(kept: KeptModels) -> str:
    """A line for each branch: loss and accuracy on each split, and the beginning of the SHA-256 of its weights."""
    curves = kept.run.curves
    columns = ["branch", *(f"{split}, {number}" for split in curves for number in ("nats per value", "accuracy"))]
    lines = [f"| {' | '.join(columns)} | SHA-256 |", f"|---{'|---:' * (len(columns) - 1)}|---|"]
    for step in kept.steps:
        evaluated = [next(line for line in curve.lines if line["step"] == step) for curve in curves.values()]
        numbers = [f"{line[name]:.4g}" for line in evaluated for name in ("attribute_loss", "attribute_accuracy")]
        digests = ", ".join(f"`{digest[:12]}`" for digest in kept.recorded[step].values())
        lines.append(f"| {branch_of(step)} | {' | '.join(numbers)} | {digests} |")
    return "\n".join(lines) + "\n"


def _data(run: Run) -> str:
    losses = ", ".join(f"{split} {curve['no_knowledge_loss'][0]:.4f}" for split, curve in run.curves.items())
    return (
        f"- config: `{run.recipe['dataset']}`, fingerprint `{run.config['dataset_fingerprint']}`, data version "
        f"{run.config['data_version']}\n"
        f"- digest of the rows: `{run.config['data_digest']}`\n"
        f"- no-knowledge losses (nats per value): {losses}\n"
        f"- parameters: `{json.dumps(run.data)}`\n"
    )


def _verdicts(verdicts: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| claim | measure | this run | shown if | the paper's |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        for measure in verdict["measures"]:
            values = ", ".join(str(value) for value in measure["values"].values())
            paper = "" if measure["paper"] is None else measure["paper"]
            lines.append(f"| {verdict['claim']} | {measure['description']} | {values} | {measure['shown_if']} | {paper} |")
    return "\n".join(lines) + "\n"


def _citation() -> str:
    """The BibTeX of the paper and of bio_facts, as in the dataset card."""
    card = asset("dataset_card.md").read_text(encoding="utf-8")
    start = card.index("```bibtex")
    return card[start : card.index("```\n", start + 3) + 4]
