"""What packing and length-grouped batches save: `python benchmarks/packing.py [--documents 512] [--device auto]`.

The same demonstrations (lengths log-normal, cut at the context, as chat data have them) are trained on once in each way:
real tokens per second of forward, backward and optimizer step, and the share of padding. Ratios are to random batches.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

from tuningfork.runtime import RuntimeSettings, start_runtime

CONTEXT = 512
WAYS = ("none, random", "none, length_grouped", "best_fit")


def main() -> None:
    """Train each way in turn, several times, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    arguments = parser.parse_args()
    runtime = start_runtime(RuntimeSettings(device=arguments.device))
    from tuningfork.data.packing import pack_rows
    from tuningfork.data.rows import TokenRow
    from tuningfork.model.loading import new_backbone
    from tuningfork.model.settings import ScratchSettings
    from tuningfork.model.tokenizer import train_tokenizer

    settings = ScratchSettings(
        layers=arguments.layers, width=arguments.width, heads=4, feed_forward=3 * arguments.width, context=CONTEXT
    )
    backbone = new_backbone(settings, train_tokenizer(["the cat sat on the mat"] * 9, 300), 0, runtime)
    numbers = random.Random(0)
    lengths = [min(CONTEXT, 8 + int(numbers.lognormvariate(4.3, 0.8))) for _ in range(arguments.documents)]
    documents = [
        TokenRow([numbers.randrange(21, 270) for _ in range(length)], [False] * 4 + [True] * (length - 4))
        for length in lengths
    ]
    packed = pack_rows(documents, CONTEXT)
    rows_of: dict[str, Sequence[TokenRow]] = {WAYS[0]: documents, WAYS[1]: documents, WAYS[2]: packed}
    num_steps = max(1, arguments.documents // 32)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    shares: dict[str, float] = {}
    for repeat in range(arguments.repeats + 1):
        for way in WAYS:  # in turn, so that a busy machine slows all of them
            speed, shares[way] = tokens_per_second(backbone, rows_of[way], num_steps, "grouped" in way, runtime.device)
            if repeat:  # the first round warms up
                found[way].append(speed)
    base = sorted(found[WAYS[0]])[arguments.repeats // 2]
    print(
        f"{arguments.documents} documents of {min(lengths)} to {max(lengths)} tokens, {runtime.device}, {num_steps} steps"
    )
    print("| packing, batching | rows a step | padding | tokens/s | ratio |\n|---|---|---|---|---|")
    for way in WAYS:
        median = sorted(found[way])[arguments.repeats // 2]
        rows = len(rows_of[way]) // num_steps
        print(f"| {way} | {rows} | {shares[way]:.1%} | {median:,.0f} | {median / base:.2f} |")


def tokens_per_second(backbone, rows, num_steps: int, is_grouped: bool, device: str) -> tuple[float, float]:
    """Real tokens per second of one pass over the rows in `num_steps` steps, and the share of padding."""
    import torch

    from tuningfork.streams.text import TextStream

    batching = "length_grouped" if is_grouped else "random"
    stream = TextStream(backbone, rows, name="rows", batch_rows=len(rows) // num_steps, seed=0, batching=batching)
    optimizer = torch.optim.AdamW(backbone.trainable_parameters(), lr=1e-4, fused=True)
    num_tokens, seconds = 0, 0.0
    for step in range(num_steps):
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        batch = stream.next_batch(step)
        stream.loss(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
        num_tokens += int(batch.mask.sum())
    return num_tokens / seconds, stream.padding_share(num_steps)


if __name__ == "__main__":
    main()
