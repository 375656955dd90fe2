"""Genomes of NCBI from a server on this machine that has its folders."""

import functools
import gzip
import hashlib
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml

from data_prep import species
from data_prep.ncbi import Assembly, read_report
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.mixture import GenomeMixture
from dnamdlm.errors import ConfigError, DataError

ANT, BEE = Assembly("GCF_000000001.2", "Ant1.0"), Assembly("GCF_000000002.1", "Bee_v2.1")


def assembly_folder(site, assembly, seed):
    """The folder of an assembly: twenty chromosomes, an organelle, a patch."""
    rng = np.random.default_rng(seed)
    folder = site / assembly.folder("root").removeprefix("root/")
    folder.mkdir(parents=True)
    roles = [(f"NC_{seed}{i}.1", "assembled-molecule", "Chromosome", 1000) for i in range(20)]
    roles.append((f"NC_{seed}MT.1", "assembled-molecule", "Mitochondrion", 300))
    roles.append((f"NW_{seed}.1", "fix-patch", "Chromosome", 500))
    report, fasta = ["# Assembly name: x", "# Sequence-Name\tSequence-Role"], []
    for name, role, kind, length in roles:
        unit = "non-nuclear" if kind == "Mitochondrion" else "Primary Assembly"
        row = ("1", role, "1", kind, f"CM_{name}", "=", name, unit, str(length), "na")
        report.append("\t".join(row))
        fasta.append(f">{name} some text\n{''.join(rng.choice(list('ACGTacgtN'), length))}\n")
    files = {
        f"{assembly.prefix}_genomic.fna.gz": gzip.compress("".join(fasta).encode()),
        f"{assembly.prefix}_assembly_report.txt": "\r\n".join(report).encode(),
    }
    sums = [f"{hashlib.md5(content).hexdigest()}  ./{name}\n" for name, content in files.items()]
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "md5checksums.txt").write_text("".join(sums))
    return folder


@pytest.fixture
def ncbi(tmp_path):
    site = tmp_path / "site"
    folders = {"ant": assembly_folder(site, ANT, 1), "bee": assembly_folder(site, BEE, 2)}
    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path.rsplit("/", 1)[-1])

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folders, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_table_has_the_ten_species_of_the_paper():
    table = species.known_species()
    assert len(table) == 10
    assert table["homo_sapiens"] == Assembly("GCF_000001405.40", "GRCh38.p14")
    assert list(table) == sorted(table)
    assert table["arabidopsis_thaliana"].folder("https://x") == (
        "https://x/GCF/000/001/735/GCF_000001735.4_TAIR10.1"
    )


def test_genomes_are_fetched_split_recorded_and_can_be_trained_on(ncbi, tmp_path):
    url, folders, _ = ncbi
    out = tmp_path / "out"
    config = species.fetch_species(out, {"ant": ANT, "bee": BEE}, base_url=url)
    node = yaml.safe_load(config.read_text())
    assert node.pop("defaults") == ["mixture", "_self_"]
    mixture = GenomeMixture(**node, length=50, cache_dir=str(tmp_path / "cache")).open()
    assert mixture.label_names == ("ant", "bee")
    splits = mixture.genomes["ant"].splits
    assert [splits.num_bases(name) for name in ("train", "valid", "test")] == [18000, 1000, 1000]
    used = {item.chrom for name in ("train", "valid", "test") for item in splits[name]}
    assert used == {f"NC_1{i}.1" for i in range(20)}
    recorded = json.loads((out / "manifest.json").read_text())["bee"]
    original = folders["bee"] / f"{BEE.prefix}_genomic.fna.gz"
    assert recorded["sha256"] == hashlib.sha256(original.read_bytes()).hexdigest()
    assert recorded["url"].startswith(f"{url}/GCF/000/000/002/GCF_000000002.1_Bee_v2.1/")


def test_what_is_there_and_intact_is_not_fetched_again(ncbi, tmp_path):
    url, _, asked = ncbi
    out = tmp_path / "out"
    species.fetch_species(out, {"ant": ANT}, base_url=url)
    del asked[:]
    species.fetch_species(out, {"ant": ANT}, base_url=url)
    assert asked == ["md5checksums.txt"]
    (out / "ant.fa.gz").write_bytes(b"damaged")
    species.fetch_species(out, {"ant": ANT}, base_url=url)
    assert GenomeData(fasta=str(out / "ant.fa.gz"), cache_dir=str(tmp_path / "c")).open()


def test_other_bytes_than_the_published_are_refused(ncbi, tmp_path):
    url, folders, _ = ncbi
    (folders["ant"] / f"{ANT.prefix}_genomic.fna.gz").write_bytes(b"evil")
    with pytest.raises(DataError, match="its md5 is"):
        species.fetch_species(tmp_path / "out", {"ant": ANT}, base_url=url)
    assert not (tmp_path / "out" / "ant.fa.gz").exists()
    assert not (tmp_path / "out" / "data").exists()


def test_any_accession_is_found_by_the_listing_of_its_folder(ncbi, tmp_path, capsys):
    url, _, _ = ncbi
    out = tmp_path / "out"
    settings = [f"out={out}", f"base_url={url}", "accession=GCF_000000002.1"]
    assert species.main(settings) == 0
    assert f"--config-dir {out} config=genome data=species" in capsys.readouterr().out
    node = yaml.safe_load((out / "data" / "species.yaml").read_text())
    assert node["defaults"] == ["genome", "_self_"]
    assert node["fasta"] == str(out / "gcf_000000002_1.fa.gz")
    assert not list(out.glob(".*"))


WRONG = {
    "species": ["species=yeti"],
    "twice": ["species=mus_musculus,mus_musculus"],
    "both": ["species=mus_musculus", "accession=GCF_000000001.2"],
    "accession": ["accession=../../etc"],
    "path in the name": ["accession=GCF_000000001.2_../../x"],
    "version": ["accession=GCF_000000001"],
    "size": ["max_gb=much"],
    "no number": ["max_gb=nan"],
}


@pytest.mark.parametrize("settings", WRONG.values(), ids=WRONG)
def test_a_wrong_setting_gives_one_sentence(settings, tmp_path, capsys):
    assert species.main([f"out={tmp_path}", "base_url=http://127.0.0.1:9", *settings]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_an_accession_that_is_not_listed_is_named(ncbi, tmp_path, capsys):
    url, _, _ = ncbi
    # the folder of the accession is there, with another version.
    assert species.main([f"out={tmp_path}", f"base_url={url}", "accession=GCF_000000001.9"]) == 2
    assert "lists 0 assemblies of GCF_000000001.9" in capsys.readouterr().err


def test_records_are_named_as_in_the_file_of_the_archive_they_come_from(ncbi):
    _, folders, _ = ncbi
    report = folders["ant"] / f"{ANT.prefix}_assembly_report.txt"
    assert read_report(report, "GCF_000000001.2")[0].name == "NC_10.1"
    assert read_report(report, "GCA_000000001.2")[0].name == "CM_NC_10.1"


def test_a_file_that_is_no_report_is_refused(tmp_path):
    path = tmp_path / "report.txt"
    path.write_text("<html>\n")
    with pytest.raises(DataError, match="line 1 is not a line of an assembly report"):
        read_report(path, "GCF_000000001.2")
    path.write_text("# nothing\n")
    with pytest.raises(DataError, match="lists no record"):
        read_report(path, "GCF_000000001.2")


def test_a_genome_without_chromosomes_is_split_all_the_same(tmp_path):
    with pytest.raises(ConfigError):
        species.wanted_assemblies("yeti", "none", tmp_path, "x", species.Limits(max_bytes=1))
    records = [species.Record(f"NW_{i}", 100, is_chromosome=False) for i in range(20)]
    splits = species.split_records(records)
    assert splits.num_bases("test") == 100
