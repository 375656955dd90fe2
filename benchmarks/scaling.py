"""How far training scales: a simulation from counted bytes, launches and FLOPs.

    python -m benchmarks.scaling

Prints the tables of `scaling_plan.md`; a test compares them. Bytes and launches per token and
micro-batch were counted on the pretended GPU (`python -m tests.gpu.count_bytes`), FLOPs follow from
sizes. Seconds are estimates for the card that is assumed; none was measured.
"""

from dataclasses import dataclass, replace

from benchmarks.model_flops import dit_flops, mamba_flops

TOKENS = 1 << 20
LENGTH = 1024
STEPS = 50_000


@dataclass(frozen=True)
class Card:
    """What is assumed of a card and its network.

    Attributes:
        flops: of bfloat16 products that are reached.
        bandwidth: of its memory, bytes per second that are reached.
        launch: seconds of the host per kernel.
        within, between: bytes per second of an all-reduce in a machine of 8, and between machines.
    """

    flops: float = 0.45 * 989e12
    bandwidth: float = 2.7e12
    launch: float = 6e-6
    within: float = 300e9
    between: float = 40e9


H100 = Card()


@dataclass(frozen=True)
class Work:
    """What a network asks of a card.

    Attributes:
        name: of the row.
        parameters: number of weights.
        flops: per token, forward and backward.
        bytes: per token, elementwise operators.
        product_bytes: per token, matrix products and attention.
        launches: per micro-batch.
        update_launches: per step.
        micro_batch: most rows of a micro-batch.
    """

    name: str
    parameters: int
    flops: float
    bytes: float
    product_bytes: float
    launches: int
    update_launches: int = 200
    micro_batch: int = 128


def device_seconds(work: Work, tokens: int, card: Card) -> float:
    """Seconds that the kernels of so many tokens take."""
    products = max(work.product_bytes * tokens / card.bandwidth, work.flops * tokens / card.flops)
    return work.bytes * tokens / card.bandwidth + products


def all_reduce_seconds(work: Work, devices: int, card: Card) -> float:
    """Seconds of the exchange of float32 gradients in a ring."""
    if devices == 1:
        return 0.0
    moved = 2 * (devices - 1) / devices * 4 * work.parameters
    machines = max(1, devices // 8)
    doublings = machines.bit_length() - 1
    return moved / (card.within if machines == 1 else card.between) + 30e-6 + 20e-6 * doublings


def simulated_step(work: Work, devices: int, card: Card = H100) -> float:
    """Seconds of one step of one of equal ranks, kernel by kernel.

    The host starts a kernel each `card.launch` seconds and runs ahead of the device, which takes
    the kernels in their order. Two thirds of the exchange run during the last backward pass. At the
    end the host waits, since loss and norm decide whether the update is sound.
    """
    rows = TOKENS // LENGTH // devices
    micro_steps = -(-rows // work.micro_batch)
    kernel = device_seconds(work, rows * LENGTH, card) / (micro_steps * work.launches)
    host = device = last_began = 0.0
    for number in range(micro_steps * work.launches):
        host += card.launch
        device = max(host, device) + kernel
        if number == (micro_steps - 1) * work.launches:
            last_began = device
    hidden = min(2 / 3 * all_reduce_seconds(work, devices, card), device - last_began)
    device += all_reduce_seconds(work, devices, card) - hidden
    for _ in range(work.update_launches):
        host += card.launch
        device = max(host, device)
    return device


def validation_seconds(
    work: Work, card: Card = H100, *, windows: int = 4096, draws: int = 4
) -> float:
    """Seconds of one validation on each rank, a forward pass being a third of a step's work.

    The products are in TF32, at half the rate of bfloat16 and with twice the bytes.
    """
    forward = replace(
        work, flops=2 * work.flops / 3, bytes=2 * work.bytes / 3,
        product_bytes=2 * work.product_bytes / 3,
    )  # fmt: skip
    return device_seconds(forward, windows * draws * LENGTH, card)


# counted by `python -m tests.gpu.count_bytes`: bytes per token of elementwise operators, of
# products and attention, and launches per micro-batch.
COUNTED: dict[str, tuple[int, int, int]] = {
    "caduceus 118 x 4": (5_733_327, 564_760, 32_575),
    "caduceus 118 x 4, fused": (325_068, 49_176, 879),
    "caduceus 256 x 16, fused": (2_678_980, 408_720, 2_306),
    "dit 768 x 12": (3_397_256, 1_096_848, 1_209),
}


def works() -> list[Work]:
    """The rows of the plan."""
    return [
        Work("470 k, fused", 470_230, mamba_flops(118, 4), *COUNTED["caduceus 118 x 4, fused"]),
        Work("470 k, portable", 470_230, mamba_flops(118, 4), *COUNTED["caduceus 118 x 4"]),
        Work("7.7 M, fused", 7_724_288, mamba_flops(256, 16), *COUNTED["caduceus 256 x 16, fused"],
             micro_batch=32),
        Work("85 M", 85_018_380, dit_flops(768, 12, LENGTH), *COUNTED["dit 768 x 12"],
             micro_batch=32),
    ]  # fmt: skip


def _duration(seconds: float) -> str:
    """Hours or minutes, two digits."""
    return f"{seconds / 3600:.2g} h" if seconds >= 2 * 3600 else f"{seconds / 60:.2g} min"


def table() -> str:
    """The rows of the plan as Markdown."""
    lines = [
        "| network | devices | windows each | kernels | launches | step | efficiency "
        "| 50,000 steps | a validation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for work in works():
        alone = simulated_step(work, 1)
        for devices in (1, 8, 64, 512):
            rows = TOKENS // LENGTH // devices
            micro_steps = -(-rows // work.micro_batch)
            started = (micro_steps * work.launches + work.update_launches) * H100.launch
            step = simulated_step(work, devices)
            cells = (
                work.name, f"{devices}", f"{rows:,}",
                f"{1e3 * device_seconds(work, rows * LENGTH, H100):,.3g} ms",
                f"{1e3 * started:,.3g} ms", f"{1e3 * step:,.3g} ms",
                f"{100 * alone / step / devices:.0f} %", _duration(STEPS * step),
                f"{validation_seconds(work):.2g} s",
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
