"use strict";
(function () {
  const record = JSON.parse(document.getElementById("browser-data").textContent);
  const colors = { A: "rgb(42,138,93)", C: "rgb(31,111,178)", G: "rgb(179,105,11)", T: "rgb(184,64,58)" };
  const numbers = (name) => record.stretches.flatMap((item) => item[name]
    .map((value, i) => ({ chr: item.chrom, start: item.start + i, end: item.start + i + 1, value }))
    .filter((feature) => feature.value !== null));
  const fasta = record.stretches.map((item) =>
    ">" + item.chrom + ":" + (item.start + 1) + "-" + (item.start + item.sequence.length) +
    " @len=" + item.length + "\n" + item.sequence + "\n").join("");
  const tracks = [
    { name: "logo of the letter", type: "wig", graphType: "dynseq", height: 110, autoscale: true,
      features: numbers("letters"), order: 1 },
    { name: "bits", type: "wig", height: 60, color: "rgb(90,100,110)", autoscale: true,
      features: numbers("bits"), order: 2 },
    { name: "entropy", type: "wig", height: 50, color: "rgb(122,91,181)", min: 0, max: 2,
      features: numbers("entropy"), order: 3 },
  ];
  if (record.genes.length) {
    tracks.push({ name: "genes", type: "annotation", displayMode: "EXPANDED", height: 70, order: 4,
      features: record.genes.map((gene) => ({ chr: gene.chrom, start: gene.start, end: gene.end,
        name: gene.name || "gene", strand: gene.strand,
        exons: gene.exons.length ? gene.exons.map((x) => ({ start: x[0], end: x[1] })) : undefined })) });
  }
  const place = document.getElementById("browser");
  igv.createBrowser(place, {
    loadDefaultGenomes: false,
    reference: { id: "model", name: "", fastaURL: "data:text/plain;base64," + btoa(fasta),
      indexed: false, wholeGenomeView: false },
    locus: record.view.chrom + ":" + (record.view.start + 1) + "-" + record.view.end,
    showIdeogram: false, showChromosomeWidget: record.stretches.length > 1, nucleotideColors: colors,
    tracks,
  }).then(() => { place.dataset.ready = "yes"; })
    .catch((error) => { place.textContent = "The tracks cannot be shown: " + error; });
})();
