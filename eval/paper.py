"""The paper's own curves as numbers, from eval/paper_numbers.json: for comparisons, and to test the rules of the verdicts."""

import functools
import json
import re
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "paper_numbers.json"


@functools.cache
def paper_numbers() -> dict[str, Any]:
    """The content of paper_numbers.json; its key `about` says where the numbers are from."""
    numbers: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return numbers


def fine_tuning_curve(num_new: int) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of "old loss", "old accuracy", "new loss" and "new accuracy" (Fig. 5, middle), where they were read.

    Losses are in units of the no-knowledge loss. The accuracies of step 0 are those with which the default run ends.
    """
    numbers = paper_numbers()
    figure, baseline = numbers["fig5_fine_tuning"], numbers["baseline_nats"]
    known = (None, three_phases_accuracy()[1][-1], None, numbers["fig5_hallucination"]["unseen_accuracy"])
    start = [given if given is not None else end for given, end in zip(figure["at_start"], known, strict=True)]
    rows = {0: start} | {int(step): values for step, values in figure[str(num_new)].items()}
    curves = {}
    for column, name in enumerate(figure["columns"]):
        read = {step: values[column] for step, values in rows.items() if values[column] is not None}
        unit = baseline if name.endswith("loss") else 1.0
        curves[name] = list(read), [value / unit for value in read.values()]
    return curves


def early_peak_without_replay() -> tuple[int, float]:
    """Where the old loss has its early peak with 4k new individuals: step, and loss in units of the no-knowledge loss."""
    text = paper_numbers()["fig5_fine_tuning"]["worst_early_old_loss"]["4000"]  # such as "1.18 near 150-200"
    peak, _, place = text.partition(" near ")
    first, _, last = place.partition("-")
    return (int(first) + int(last)) // 2, float(peak) / paper_numbers()["baseline_nats"]


def replay_losses() -> dict[float, tuple[float, float, float]]:
    """Replay weight -> worst old loss, last old loss, last new loss, in units of the no-knowledge loss (Fig. 5, right)."""
    figure, baseline = paper_numbers()["fig5_replay_4k_new"], paper_numbers()["baseline_nats"]
    weights = [name for name in figure if name not in ("columns", "note")]
    return {float(weight): tuple(loss / baseline for loss in figure[weight]) for weight in weights}


def rare_individuals_accuracies() -> dict[str, dict[str, tuple[float, float]]]:
    """Arm (rest, celebrities) -> group (rest, celebrities) -> accuracy before and after fine-tuning on the arm (Fig. P)."""
    figure = paper_numbers()["figP_rare_individuals"]
    arms = {"rest": "fine_tuned_on_the_120k_rare", "celebrities": "fine_tuned_on_celebrities"}
    groups = {"rest": "rare_accuracy", "celebrities": "celebrity_accuracy"}
    return {
        arm: {group: tuple(figure[key][column]) for group, column in groups.items() if column in figure[key]}
        for arm, key in arms.items()
    }


def three_phases_curve() -> tuple[list[int], list[float], float]:
    """Steps, attribute losses (nats per value) and no-knowledge loss of the paper's default run (Fig. 2, middle)."""
    figure = paper_numbers()["fig2_three_phases"]
    return figure["step"], figure["loss"], paper_numbers()["baseline_nats"]


def three_phases_accuracy() -> tuple[list[int], list[float]]:
    """Steps and attribute accuracies of the paper's default run (Fig. 2, left)."""
    accuracy = paper_numbers()["fig2_three_phases"]["accuracy"]
    return [int(step) for step in accuracy], list(accuracy.values())


def patched_loss_curve() -> tuple[list[int], list[float], float]:
    """The same of a run that is given the attention patterns of the default run's last model (Fig. 3, middle).

    Until step 500, where the paper's curve was not read, the losses are those of the default run.
    """
    losses = paper_numbers()["fig3_patching"]["loss_over_steps_with_reference_16000"]
    steps, default, baseline = three_phases_curve()
    before = [(step, loss) for step, loss in zip(steps, default, strict=True) if step < min(map(int, losses))]
    return [step for step, _ in before] + [int(step) for step in losses], [x for _, x in before] + [*losses.values()], baseline


def patched_final_losses(frozen: bool | None) -> tuple[list[int], list[float]]:
    """Reference steps and final losses, in units of the no-knowledge loss, of runs with patterns of the default run (Fig. 3).

    frozen: whether training starts from the reference (Fig. D) or from step 0. None: the reference from groups (Fig. W).
    """
    numbers, baseline = paper_numbers(), paper_numbers()["baseline_nats"]
    if frozen is None:
        return [1000], [numbers["figW_reference_from_groups"]["final_loss_on_all_64k"] / baseline]
    key = "freeze variant (start = reference)" if frozen else "final_loss_by_reference_step, start 0"
    losses = numbers["fig3_patching"][key]
    return [int(step) for step in losses], [loss / baseline for loss in losses.values()]


def attention_curves(name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a share of attention in the last layer of the default run (Fig. 3, right); empty if not read."""
    figure = paper_numbers()["fig3_attention"]
    values = figure.get(f"{name}_last_layer")
    return ([], []) if values is None else (figure["step"], values)


def unseen_loss_curve() -> tuple[list[int], list[float], float]:
    """Steps, losses on individuals never seen (nats per value) and no-knowledge loss of the default run (Fig. 5, left)."""
    figure = paper_numbers()["fig5_hallucination"]
    return figure["step"], figure["unseen_loss"], paper_numbers()["baseline_nats"]


def confidence_curve(name: str) -> tuple[list[int], list[float]]:
    """Steps and values of top_probability_seen, top_probability_unseen, entropy_seen or entropy_unseen (Fig. M)."""
    figure = paper_numbers()["figM_confidence"]
    return figure["step"], figure[name]


def plateau_ratios_by_alpha(num_individuals: int) -> tuple[list[float], list[float]]:
    """Exponents, and the end of the plateau with each divided by that with uniform sampling (Fig. 4, left)."""
    figure = paper_numbers()["fig4_plateau_end_by_alpha"]
    ends = figure[str(num_individuals)]
    return figure["alpha"], [end / ends[0] for end in ends]


def final_losses_by_alpha() -> tuple[list[float], list[float]]:
    """Exponents and final losses, in units of the no-knowledge loss, of 64k individuals in 8k steps (Fig. G)."""
    losses = paper_numbers()["figG_final_loss_by_alpha_64k_8k_steps"]
    return [float(alpha) for alpha in losses], [loss / paper_numbers()["baseline_nats"] for loss in losses.values()]


def benefits_of_imbalance() -> tuple[list[int], list[float]]:
    """Steps, and final loss with alpha 0.6 minus uniform in units of the no-knowledge loss, of 64k individuals (Fig. 4, J)."""
    figure, baseline = paper_numbers()["fig4_right_and_J"], paper_numbers()["baseline_nats"]
    losses = {8000: figure["loss_64k_8k_steps"], 16000: figure["by_individuals_16k_steps_loss"]["64000"]}
    return list(losses), [(power_law - uniform) / baseline for uniform, power_law, *_ in losses.values()]


def schedules(name: str) -> dict[str, float]:
    """Numbers of uniform, power law, warm-up and celebrities, as the paper's Fig. 4 (right) and J show them.

    name: accuracy_64k_8k_steps, accuracy_128k_16k_steps or loss_64k_8k_steps (nats per value).
    """
    figure = paper_numbers()["fig4_right_and_J"]
    return dict(zip(figure["columns"], figure[name], strict=True))


def warm_up_accuracies(num_individuals: int) -> tuple[list[int], list[float]]:
    """Steps of a warm-up on so many of 64k individuals, and accuracies after 8k steps in all (Fig. K)."""
    figure = paper_numbers()["figK_warm_up_accuracy_64k_8k_steps"]
    return figure["warm_up_steps"], figure[str(num_individuals)]


def warm_up_losses() -> list[tuple[int, float]]:
    """Steps and losses (in units of the no-knowledge loss) on all 64k individuals in training that begins with 8k (Fig. I).

    The second is the end of the warm-up, at 1.5k steps; the third is when the loss is back.
    """
    text = paper_numbers()["figI_loss_on_everyone_during_warm_up"]["8k people"]
    # "8.5 at step 1k, 10.7 at 1.5k; about 6.7 within 500 steps after the switch"
    read = [(float(thousands) * 1_000, float(loss)) for loss, thousands in re.findall(r"([\d.]+) at (?:step )?([\d.]+)k", text)]
    (loss, steps) = re.findall(r"about ([\d.]+) within (\d+) steps", text)[0]
    read.append((read[-1][0] + float(steps), float(loss)))
    return [(round(step), loss / paper_numbers()["baseline_nats"]) for step, loss in read]
