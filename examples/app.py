"""A page to try a model on: generate, fill, score a variant, interpret.

    pip install 'dnamdlm[app]'
    marimo run examples/app.py

It also runs as a script, with the values that the page begins with: `python examples/app.py`.
"""

# a cell of marimo is a function: what it returns is known to the others, its last expression is
# shown.
# ruff: noqa: ANN001, ANN202, B018
import marimo

app = marimo.App(width="medium", app_title="dnamdlm")


@app.cell
def _():
    import marimo as mo

    import dnamdlm

    mo.md("# dnamdlm")
    return dnamdlm, mo


@app.cell
def _(mo):
    name = mo.ui.text("yeast-demo", label="model: a run folder, an exported folder, a hub id, or")
    name
    return (name,)


@app.cell
def _(dnamdlm, mo, name):
    try:
        model = dnamdlm.load(name.value)
        problem = None
    except dnamdlm.DnamdlmError as error:
        model, problem = None, str(error)
    mo.stop(model is None, mo.md(f"**{problem}**"))
    model
    return (model,)


@app.cell
def _(mo):
    number = mo.ui.slider(1, 16, value=2, label="sequences")
    length = mo.ui.slider(20, 400, value=60, label="bases")
    seed = mo.ui.number(0, 1_000_000, value=1, label="seed")
    mo.vstack([mo.md("## Generate"), mo.hstack([number, length, seed], justify="start", wrap=True)])
    return length, number, seed


@app.cell
def _(length, mo, model, number, seed):
    sequences = model.sample(number.value, length=length.value, seed=seed.value)
    mo.plain_text("\n".join(f">sample_{i}\n{text}" for i, text in enumerate(sequences, 1)))
    return (sequences,)


@app.cell
def _(mo):
    template = mo.ui.text_area("ACGTACGTNNNNNNNNGATTACA", label="N is filled given both sides")
    mo.vstack([mo.md("## Fill"), template])
    return (template,)


@app.cell
def _(dnamdlm, mo, model, template):
    try:
        filled = model.fill("".join(template.value.split()))
    except dnamdlm.DnamdlmError as error:
        filled = str(error)
    mo.plain_text(filled)
    return (filled,)


@app.cell
def _(mo):
    genome = mo.ui.text("embedded:yeast", label="genome (FASTA, or embedded:yeast)")
    change = mo.ui.text("chrXVI:100001 A>G", label="variant, 1-based")
    mo.vstack(
        [mo.md("## Score a variant"), mo.hstack([genome, change], justify="start", wrap=True)]
    )
    return change, genome


@app.cell
def _(change, dnamdlm, genome, mo, model):
    try:
        score = model.score(change.value, genome.value)
        scored = "\n".join(f"{key:<16}{value:+.3f} nats" for key, value in score.items())
    except dnamdlm.DnamdlmError as error:
        score, scored = None, str(error)
    mo.plain_text(scored)
    return (score,)


@app.cell
def _(mo):
    locus = mo.ui.text("chrXVI:100070-100100", label="locus, 0-based, half-open")
    mo.vstack([mo.md("## Interpret"), locus])
    return (locus,)


@app.cell
def _(dnamdlm, genome, locus, mo, model):
    try:
        (found,) = model.interpret(locus.value, genome.value, parts="mutagenesis")
        picture = mo.image(found.figures()["mutagenesis"]._repr_png_())
    except dnamdlm.DnamdlmError as error:
        picture = mo.md(f"**{error}**")
    picture
    return (picture,)


if __name__ == "__main__":
    app.run()
