"""Embeddings per record, bin and base, against states that can be computed by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from dnamdlm.assembly.embed.embed_settings import EmbeddedRecords
from dnamdlm.assembly.embed.embedding import read_records
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.data.embedding_tables import embedding_sink
from dnamdlm.errors import ConfigError
from dnamdlm.lm.states.record_states import (
    EmbeddingSettings,
    PartReader,
    Pieces,
    StateReader,
    count_rows,
    embed_records,
    rows_of,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model
from tests.helpers.rounding import rounding


class Positions:
    """The state of a base is (its id, how many bases of its window stand before and after)."""

    vocabulary = NUCLEOTIDE_VOCABULARY

    def hidden(self, batch):
        place = torch.arange(batch.length).expand(len(batch), -1)
        last = batch.present.sum(dim=1, keepdim=True) - 1
        return torch.stack([batch.tokens, place, last - place], dim=-1).float()


class TwoStrands(torch.nn.Module):
    """A language model whose network is averaged over both strands."""

    vocabulary = NUCLEOTIDE_VOCABULARY

    def __init__(self):
        super().__init__()

        class Network(torch.nn.Module):
            vocab_size = len(NUCLEOTIDE_VOCABULARY)
            time_conditioning = False

            def forward(self, tokens, time=None, present=None):
                return torch.zeros(*tokens.shape, self.vocab_size)

            def hidden(self, tokens, time=None, present=None):
                return tokens[..., None].float()

            def head(self, states):
                return states

        self.backbone = StrandAverage(Network(), NUCLEOTIDE_VOCABULARY.complement)

    def hidden(self, batch):
        return self.backbone.hidden(batch.tokens, None, batch.attended)


RECORDS = [
    NucleotideTokenizer().encode(text)
    for text in ("ACGTN", "N", "ACGTTGCAAGCTTAGGCCTANNNCA", "NNNNNNNNNNACGTACGTNN", "T")
]
LENGTHS = [len(record) for record in RECORDS]


def embedded(settings, encoder=None, **options):
    rows = list(embed_records(StateReader(encoder or Positions()), RECORDS, settings, **options))
    joined = [np.concatenate([getattr(r, k) for r in rows])
              for k in ("record", "start", "end", "num_valid", "values")]  # fmt: skip
    assert len(joined[0]) == count_rows(LENGTHS, settings)
    return joined


def is_base(ids):
    return np.isin(ids, NUCLEOTIDE_VOCABULARY.real_ids)


@pytest.mark.parametrize("at_once", [1, 24, 1000])
def test_every_base_has_its_row_from_the_tile_with_the_most_context(at_once):
    settings = EmbeddingSettings("none", 8, overlap=0.5)
    record, start, end, num_valid, values = embedded(settings, tokens_at_once=at_once)
    np.testing.assert_array_equal(values[:, 0], np.concatenate(RECORDS))
    np.testing.assert_array_equal(start, np.concatenate([np.arange(n) for n in LENGTHS]))
    np.testing.assert_array_equal(record, np.repeat(np.arange(5), LENGTHS))
    np.testing.assert_array_equal(end - start, 1)
    np.testing.assert_array_equal(num_valid, is_base(np.concatenate(RECORDS)))
    context = values[:, 1:].min(axis=1)
    inner = (start >= 2) & (start < np.array(LENGTHS)[record] - 2) & (np.array(LENGTHS)[record] > 8)
    assert context[inner].min() >= 2


@pytest.mark.parametrize("at_once", [1, 24, 1000])
@pytest.mark.parametrize(("length", "overlap"), [(8, 0.5), (8, 0.9), (7, 0.4), (25, 0.5)])
def test_windows_go_across_the_origin_of_a_circular_record(tmp_path, at_once, length, overlap):
    texts = {"line": "ACGTNACGTAAC", "ring": "ACGTTGCAAGCTTAGGCCTANNNCA", "small": "ACGTA"}
    (tmp_path / "g.fa").write_text("".join(f">{k}\n{v}\n" for k, v in texts.items()))
    records = read_records(
        EmbeddedRecords(f"{tmp_path}/g.fa", circular=("ring", "small"), cache_dir=str(tmp_path))
    )
    assert records.circular == {1, 2}
    settings = EmbeddingSettings("none", length, overlap=overlap)
    reader = PartReader(StateReader(Positions()), records, settings, tokens_at_once=at_once)
    pieces = Pieces(
        [len(text) for text in texts.values()], settings, reader.at_once, frozenset({1, 2})
    )
    parts = [part for chosen in pieces for part in reader.read(chosen)]
    assert len(pieces) == -(-len(parts) // reader.at_once)
    rows = list(rows_of(parts, settings))
    record, start, values = (
        np.concatenate([getattr(row, key) for row in rows]) for key in ("record", "start", "values")
    )
    np.testing.assert_array_equal(
        start, np.concatenate([np.arange(len(t)) for t in texts.values()])
    )
    ids = np.concatenate([NucleotideTokenizer().encode(text) for text in texts.values()])
    np.testing.assert_array_equal(values[:, 0], ids)
    # a window that holds the whole circle sees each base once, and so does that of a line.
    reach = int(length * overlap) // 2 if length < 25 else 0
    assert values[record == 1, 1:].min() >= min(reach, 2)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_names_in_tables_have_no_letters_on_which_a_terminal_acts(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    with embedding_sink(path, ending, ["a\x1b[31m\tb"], (1, 2), "float32") as sink:
        sink.add(*(np.array([value]) for value in (0, 0, 4, 4)), np.ones((1, 2), np.float32))
    names = np.load(path)["names"] if ending == ".npz" else pd.read_parquet(path).name
    assert list(names) == ["a\\x1b[31m b"]


@pytest.mark.parametrize("at_once", [1, 1000])
@pytest.mark.parametrize("size", [1, 3, 5, 8, 100])
def test_bins_are_means_over_the_bases_that_are_known(size, at_once):
    settings = EmbeddingSettings("bin", 8, bin_size=size, overlap=0.3)
    record, start, end, num_valid, values = embedded(settings, tokens_at_once=at_once)
    for row in range(len(record)):
        ids = RECORDS[record[row]][start[row] : end[row]]
        known = ids[is_base(ids)]
        assert num_valid[row] == len(known)
        expected = known.mean() if len(known) else np.nan
        # means are formed in float64 and rounded once.
        np.testing.assert_allclose(values[row, 0], expected, rtol=rounding(1))
    assert [int(e) for e in end[np.append(np.diff(record) > 0, True)]] == LENGTHS


@pytest.mark.parametrize(("pooling", "reduced"), [("mean", np.mean), ("max", np.max)])
def test_records_are_pooled_over_the_bases_that_are_known(pooling, reduced):
    record, start, end, num_valid, values = embedded(EmbeddingSettings(pooling, 8))
    np.testing.assert_array_equal(record, np.arange(5))
    np.testing.assert_array_equal(start, 0)
    np.testing.assert_array_equal(end, LENGTHS)
    for row, ids in enumerate(RECORDS):
        known = ids[is_base(ids)]
        assert num_valid[row] == len(known)
        expected = reduced(known) if len(known) else np.nan
        np.testing.assert_allclose(values[row, 0], expected, rtol=rounding(1))


def test_the_center_is_read_in_one_window_around_it():
    _, start, end, _, values = embedded(EmbeddingSettings("center", 8))
    np.testing.assert_array_equal(start, [n // 2 for n in LENGTHS])
    np.testing.assert_array_equal(end, start + 1)
    np.testing.assert_array_equal(values[:, 0], [r[len(r) // 2] for r in RECORDS])
    assert values[2, 1:].tolist() == [4, 3]


def test_both_strands_are_averaged_per_base():
    reader = StateReader(TwoStrands())
    assert reader.width("cpu") == 1
    _, _, _, _, values = embedded(EmbeddingSettings("none", 8), encoder=TwoStrands())
    ids = np.concatenate(RECORDS)
    complement = np.array(NUCLEOTIDE_VOCABULARY.complement)[ids]
    np.testing.assert_array_equal(values[:, 0], (ids + complement) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"pooling": "sum"}, "pooling=sum"), ({"length": 0}, "length=0"),
     ({"bin_size": 0}, "bin_size=0"), ({"overlap": 1.0}, "overlap=1.0")],
)  # fmt: skip
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        EmbeddingSettings(**({"pooling": "mean", "length": 8} | changes))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_tables_hold_what_was_added_and_are_the_same_bytes_each_time(tmp_path, ending, dtype):
    settings = EmbeddingSettings("bin", 8, bin_size=4)
    names = [f"r{i}" for i in range(5)]
    shape = (count_rows(LENGTHS, settings), 3)
    paths = [tmp_path / f"{i}{ending}" for i in range(2)]
    for path in paths:
        with embedding_sink(path, ending, names, shape, dtype) as sink:
            for r in embed_records(StateReader(Positions()), RECORDS, settings):
                sink.add(r.record, r.start, r.end, r.num_valid, r.values)
    record, start, end, num_valid, values = embedded(settings)
    if ending == ".npz":
        found = np.load(paths[0], allow_pickle=False)
        assert [found["names"][i] for i in found["record"]] == [names[i] for i in record]
        columns, vectors = found, found["embedding"]
    else:
        columns = pd.read_parquet(paths[0])
        assert columns["name"].tolist() == [names[i] for i in record]
        vectors = np.stack(columns["embedding"])
    assert vectors.dtype == dtype
    np.testing.assert_array_equal(vectors, values.astype(dtype))
    for name, expected in (("start", start), ("end", end), ("num_valid", num_valid)):
        np.testing.assert_array_equal(columns[name], expected)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_an_equivariant_network_has_one_state_per_base_whichever_strand_is_read():
    small = ("backbone=caduceus_ps", "backbone.hidden_size=8", "backbone.num_blocks=1")
    lm = build_language_model(compose("config=tiny", *small), seed=1)
    reader = StateReader(lm.double().eval())
    ahead = NucleotideTokenizer().encode("ACGTTGCAAG")
    back = NucleotideTokenizer().encode("CTTGCAACGT")
    settings = EmbeddingSettings("none", 16)
    rows = [r.values for r in embed_records(reader, [ahead, back], settings)]
    assert rows[0].shape == (10, reader.width("cpu")) == (10, 8)
    # states in float64, rounded once and averaged in float32.
    allowed = rounding(3, np.abs(rows[0]).max())
    np.testing.assert_allclose(rows[0], rows[1][::-1], rtol=0, atol=allowed)
