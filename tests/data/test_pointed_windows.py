"""Windows with templates from the training split: never their own bases, noise by key alone."""

import numpy as np
import pytest
import torch

from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.pointed_windows import (
    NO_TEMPLATE,
    PointedGenome,
    PointedRows,
    PointedWindows,
    substituted,
)
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer

LENGTH = 40
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """r1 and r3 are for training, r1 is a circle; a repeat is in all, once turned over."""
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), 400)) for _ in range(4)]
    repeat = rows[0][:90]
    turned = repeat[::-1].translate(COMPLEMENT)
    rows[0] = rows[0][:200] + repeat + rows[0][290:]
    rows[1] = rows[1][:100] + repeat + rows[1][190:]
    rows[2] = rows[2][:50] + turned + rows[2][140:]
    rows[3] = rows[3][:310] + repeat
    folder = tmp_path_factory.mktemp("genome")
    text = "".join(f">r{i}\n{row}\n" for i, row in enumerate(rows, start=1))
    (folder / "my.fa").write_text(text)
    data = GenomeData(
        fasta=str(folder / "my.fa"), cache_dir=str(folder), length=LENGTH,
        train=["r1", "r3"], valid=["r2"], test=["r4"], circular=["r1"],
    )  # fmt: skip
    return data.open()


@pytest.fixture(scope="module")
def genome(opened):
    return PointedGenome.of_split(opened.store, opened.splits["train"], 12)


def some_rows(opened, genome, share=1.0, substitutions=0.0, count=200, first=0):
    rows = PointedRows(opened.training_rows(7), genome, share, substitutions)
    return rows.at(np.arange(first, first + count), np.arange(count), count)


def letters(ids):
    return NucleotideTokenizer().decode(ids.numpy())


def test_there_is_a_pointer_for_each_place_of_both_strands(genome):
    # 800 bases, N between the two records and N at the end.
    assert genome.index.num_addresses == 2 * 802
    assert genome.log_uniform == pytest.approx(-np.log(1604))


def test_templates_of_training_windows_are_repeats_elsewhere(opened, genome):
    batch = some_rows(opened, genome)
    has = (batch.aligned != NO_TEMPLATE).all(dim=1)
    assert 40 < has.sum() < 160
    assert (batch.aligned[~has] == NO_TEMPLATE).all()
    found = genome.pointers(batch.rows(has))
    own = genome.own_spans(batch.start[has].numpy(), LENGTH)
    spans = genome.index.spans(found.addresses, LENGTH)
    low = np.maximum(own[..., 0], spans[:, None, 0])
    assert (low >= np.minimum(own[..., 1], spans[:, None, 1])).all()
    same = (batch.aligned == batch.tokens)[has].sum(dim=1)
    assert same.min() >= 12
    assert same.numpy().tolist() == found.matches.tolist()
    # windows of the repeat have it once more on their own strand, and once on the other.
    assert (same == LENGTH).any()


def test_a_window_across_the_origin_excludes_both_its_ends(opened, genome):
    start = np.array([opened.store.offsets["r1"] + 390])
    own = genome.own_spans(start, LENGTH)
    assert own[0].tolist() == [[390, 400], [0, 30]]
    third = genome.own_spans(np.array([opened.store.offsets["r3"] + 5]), LENGTH)
    assert third[0].tolist() == [[406, 446], [401, 401]]


def test_what_a_row_gets_depends_on_its_position_alone(opened, genome):
    whole = some_rows(opened, genome, share=0.5, substitutions=0.3)
    part = some_rows(opened, genome, share=0.5, substitutions=0.3, count=50, first=60)
    assert torch.equal(whole.aligned[60:110], part.aligned)
    every = some_rows(opened, genome)
    has = (every.aligned != NO_TEMPLATE).all(dim=1)
    half = (whole.aligned != NO_TEMPLATE).all(dim=1)
    assert not (half & ~has).any()
    assert 0.3 < half.sum() / has.sum() < 0.7
    rate = (whole.aligned != every.aligned)[half].double().mean()
    # uniform between 0 and 0.3.
    assert rate.item() == pytest.approx(0.15, abs=0.05)


def test_a_replaced_base_is_one_of_the_other_three():
    ids = torch.tensor([[7, 8, 9, 10, 11, NO_TEMPLATE]]).repeat(4000, 1)
    noise = RowNoise(row_keys(0, torch.arange(4000)))
    made = substituted(ids, noise, largest_rate=0.6)
    assert torch.equal(made[:, 4:], ids[:, 4:])
    changed = made[:, :4] != ids[:, :4]
    # the mean of a rate that is uniform below 0.6, within 5 standard errors.
    assert changed.double().mean().item() == pytest.approx(0.3, abs=5 * 0.25 / 4000**0.5)
    counts = torch.bincount(made[:, 0][changed[:, 0]], minlength=12)[7:11]
    assert counts[0] == 0
    assert counts[1:].min() > 0.8 * counts[1:].double().mean()
    assert torch.equal(substituted(ids, noise, largest_rate=0.0), ids)


def test_drawn_addresses_are_uniform_on_both_strands_and_as_many_as_wanted(genome):
    noise = RowNoise(row_keys(5, torch.arange(20_000)))
    addresses = genome.drawn(noise, pi=0.25)
    has = addresses >= 0
    # five standard errors.
    assert has.mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 20_000) ** 0.5)
    chosen = addresses[has] / genome.index.num_addresses
    assert chosen.max() < 1
    counts = np.histogram(chosen, 4, (0, 1))[0] / has.sum()
    assert counts == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / has.sum()) ** 0.5)
    assert not (genome.drawn(noise, pi=0.0) >= 0).any()
    assert (genome.drawn(noise, pi=1.0) >= 0).all()
    templates = genome.templates(addresses, 10)
    assert (templates[torch.from_numpy(~has)] == NO_TEMPLATE).all()


def test_a_genome_that_is_only_read_has_the_same_templates(opened, genome):
    read = PointedGenome.of_split(opened.store, opened.splits["train"], None)
    assert read.index.num_addresses == genome.index.num_addresses
    assert read.digest == genome.digest
    addresses = np.arange(read.index.num_addresses)
    assert torch.equal(read.templates(addresses, 9), genome.templates(addresses, 9))


def test_windows_of_a_split_that_point_come_with_their_templates(opened, genome):
    sweep = opened.evaluation_windows("test")
    windows = PointedWindows.of_sweep(sweep, genome)
    batches = list(type(sweep).over(windows).batches(2))
    tokens = torch.cat([batch.tokens for batch in batches])
    aligned = torch.cat([batch.aligned for batch in batches])
    assert len(tokens) == len(windows) >= 2
    starts = torch.cat([batch.start for batch in batches]).tolist()
    assert starts == windows.starts.tolist()
    same = (tokens == aligned).sum(dim=1).tolist()
    assert same == windows.pointers.matches.tolist()
    # the last window lies within the repeat.
    assert letters(tokens[-1]) == letters(aligned[-1])
    assert windows.pointers.copies[-1] == 3


def test_a_split_without_a_shared_word_is_refused(opened):
    far = PointedGenome.of_split(opened.store, opened.splits["train"], 31)
    alone = opened.evaluation_windows("test", length=20)
    with pytest.raises(DataError, match="no window shares 31 bases with the training split"):
        PointedWindows.of_sweep(alone, far)


def test_an_empty_training_split_is_refused(opened):
    with pytest.raises(DataError, match="training split of 1 to"):
        PointedGenome.of_split(opened.store, (), 12)


def test_the_digest_is_that_of_the_bases_of_the_split(opened, genome):
    again = PointedGenome.of_split(opened.store, opened.splits["train"][::-1], 20)
    other = PointedGenome.of_split(opened.store, opened.splits["test"], 12)
    assert again.digest == genome.digest != other.digest


def test_padding_and_marks_are_no_bases_of_a_window(opened, genome):
    assert NUCLEOTIDE_VOCABULARY.mask_id == NO_TEMPLATE
    sweep = opened.evaluation_windows("train", length=300)
    for batch in sweep.batches(8):
        found = genome.pointers(batch)
        assert (found.matches <= batch.valid.sum(dim=1).numpy()).all()
